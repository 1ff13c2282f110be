use super::*;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// A directory of its own, gone with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("ocicat-agent-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn ask(&self, wishes: &Wishes) -> Result<Answer, Failure> {
        let (socket, marker) = (self.0.join("sock"), self.0.join("marker"));
        let call = Call { program: "calico".into(), config: "{}".into(), ..Call::default() };
        Place { socket: &socket, marker: &marker }.ask(call, wishes)
    }

    /// An agent that does this with its one caller.
    fn agent(&self, serve: impl FnOnce(UnixStream) + Send + 'static) -> JoinHandle<()> {
        let listener = UnixListener::bind(self.0.join("sock")).unwrap();
        std::thread::spawn(move || serve(listener.accept().unwrap().0))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn wishes(fallback: bool, milliseconds: u64) -> Wishes {
    Wishes { fallback, timeout: Duration::from_millis(milliseconds) }
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn what_the_configuration_says() {
    assert_eq!(Wishes::of("no JSON"), Wishes { fallback: false, timeout: TIMEOUT });
    let all = Wishes::of(r#"{"agent_fallback":true,"agent_timeout_seconds":7}"#);
    assert_eq!(all, Wishes { fallback: true, timeout: Duration::from_secs(7) });
    assert_eq!(Wishes::of(r#"{"agent_timeout_seconds":0}"#).timeout, TIMEOUT);
}

#[test]
fn an_agent_counts_as_here_by_its_socket_or_its_marker() {
    let scratch = Scratch::new("here");
    let (socket, marker) = (scratch.0.join("sock"), scratch.0.join("marker"));
    let place = Place { socket: &socket, marker: &marker };
    assert!(!place.agent_was_here());
    std::fs::write(&marker, "").unwrap();
    assert!(place.agent_was_here());
}

#[test]
fn it_executes_what_it_is_told_to_and_prints_the_answer() {
    let scratch = Scratch::new("executes");
    let agent = scratch.agent(|mut stream| {
        let Message::Call(call) = hear(&mut stream, later()).unwrap() else { panic!() };
        assert_eq!(call.program, "calico");
        let program = Execute {
            file: "/bin/cat".into(),
            variables: [("A".to_owned(), "b".to_owned())].into(),
            stdin: "hello".into(),
        };
        stream.write_all(&encode(&Message::Execute(program)).unwrap()).unwrap();
        let Message::Executed(done) = hear(&mut stream, later()).unwrap() else { panic!() };
        let missing = Execute { file: "/no/such/program".into(), ..Execute::default() };
        stream.write_all(&encode(&Message::Execute(missing)).unwrap()).unwrap();
        let Message::Executed(failed) = hear(&mut stream, later()).unwrap() else { panic!() };
        assert!(!failed.good && failed.ending.contains("No such file"), "{failed:?}");
        let answer = Answer { stdout: done.stdout, stderr: done.ending, exit: 3 };
        stream.write_all(&encode(&Message::Answer(answer)).unwrap()).unwrap();
    });
    let answer = scratch.ask(&wishes(false, 20_000)).unwrap();
    assert_eq!((answer.stdout.as_str(), answer.exit), ("hello", 3));
    assert!(answer.stderr.contains('0'), "{}", answer.stderr);
    agent.join().unwrap();
}

#[test]
fn an_agent_that_starts_late_is_waited_for() {
    let scratch = Scratch::new("late");
    let path = scratch.0.join("sock");
    let agent = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        let mut stream = UnixListener::bind(path).unwrap().accept().unwrap().0;
        hear(&mut stream, later()).unwrap();
        stream.write_all(&encode(&Message::Answer(Answer::default())).unwrap()).unwrap();
    });
    assert_eq!(scratch.ask(&wishes(false, 20_000)).unwrap(), Answer::default());
    agent.join().unwrap();
}

#[test]
fn no_answer_ends_within_the_bound() {
    let scratch = Scratch::new("bound");
    let begin = Instant::now();
    assert!(matches!(scratch.ask(&wishes(false, 100)), Err(Failure::Absent(_))));
    assert!(matches!(scratch.ask(&wishes(true, 60_000)), Err(Failure::Absent(_))), "at once");
    // it listens, and hangs
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let agent = scratch.agent(move |stream| {
        let _ = told.recv();
        drop(stream);
    });
    assert!(matches!(scratch.ask(&wishes(true, 100)), Err(Failure::Silent(_))));
    assert!(begin.elapsed() < Duration::from_secs(20));
    tell.send(()).unwrap();
    agent.join().unwrap();
    let error = try_again("x");
    assert_eq!((error.code, error.msg.as_str()), (11, "try again later"));
    assert_eq!(unavailable("x").code, 51);
}

#[test]
fn an_agent_that_dies_or_says_something_else() {
    let scratch = Scratch::new("dies");
    let agent = scratch.agent(drop);
    assert!(matches!(scratch.ask(&wishes(false, 20_000)), Err(Failure::Silent(_))));
    agent.join().unwrap();
    std::fs::remove_file(scratch.0.join("sock")).unwrap();
    let agent = scratch.agent(|mut stream| stream.write_all(b"HTTP/1.1 400").unwrap());
    let Err(Failure::Wrong(reason)) = scratch.ask(&wishes(false, 20_000)) else { panic!() };
    assert!(reason.contains("does not speak the protocol"), "{reason}");
    agent.join().unwrap();
}

#[test]
fn input_can_be_read_once_more() {
    let output = process::Command::new("/bin/cat").stdin(again(b"once more").unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"once more");
}
