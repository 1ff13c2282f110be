//! The gRPC service: questions go to the loop, which owns all there is to tell, and come back as answers.

use crate::proto::felix_server::Felix;
use crate::proto::{ParamsRequest, ParamsResponse, StatusRequest, StatusResponse};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

/// What people may ask, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Question {
    Status(oneshot::Sender<StatusResponse>),
    Params(oneshot::Sender<ParamsResponse>),
}

/// The service's side of the questions.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub mpsc::Sender<Question>);

impl Service {
    async fn ask<A>(
        &self,
        question: impl FnOnce(oneshot::Sender<A>) -> Question,
    ) -> Result<Response<A>, Status> {
        let (answer, told) = oneshot::channel();
        let ended = || Status::unavailable("the agent is ending");
        self.0.send(question(answer)).await.map_err(|_| ended())?;
        told.await.map(Response::new).map_err(|_| ended())
    }
}

#[tonic::async_trait]
impl Felix for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.ask(Question::Status).await
    }

    async fn params(&self, _: Request<ParamsRequest>) -> Result<Response<ParamsResponse>, Status> {
        self.ask(Question::Params).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QUESTIONS;
    use futures::FutureExt;

    #[tokio::test]
    async fn who_asks_when_too_many_wait_is_answered_later() {
        let (questions, mut asked) = mpsc::channel(QUESTIONS);
        let service = Service(questions);
        let mut asking: Vec<_> =
            (0..=QUESTIONS).map(|_| service.status(Request::new(StatusRequest {}))).collect();
        asking.iter_mut().for_each(|asking| assert!(asking.as_mut().now_or_never().is_none()));
        assert_eq!(asked.len(), QUESTIONS);
        let mut answered = 0;
        while answered <= QUESTIONS {
            let Ok(Question::Status(answer)) = asked.try_recv() else { panic!("{answered} were asked") };
            answer.send(StatusResponse::default()).unwrap();
            // whoever had no place has one now
            asking.retain_mut(|asking| asking.as_mut().now_or_never().is_none());
            answered += 1;
        }
        assert!(asking.is_empty());
    }
}
