//! What an agent does with what the last one left: it finishes every DEL, and takes back every ADD that has not been answered.

use super::Agent;
use super::record::{Record, State};
use super::retire::Severed;
use crate::host::Host;
use cni_protocol::CniError;

impl Agent {
    /// Takes the links of unfinished calls out of service, before anybody is answered. Their releases are owed to the datastore
    /// from then on.
    pub(crate) async fn recover(&self, host: &Host) {
        let unfinished: Vec<Record> = {
            let records = self.records();
            records.all().filter(|record| record.state != State::Attached).cloned().collect()
        };
        for record in unfinished {
            tracing::info!(attachment = %record.key, state = ?record.state, "finishing what was interrupted");
            match self.discard_link(host, &record).await {
                Ok(()) => self.records().put_in_memory(Record { state: State::Owed, ..record }),
                // its addresses stay where they are: they may still answer
                Err(error) => {
                    tracing::error!(attachment = %record.key, %error, "cannot be taken apart; DEL will try again");
                }
            }
        }
    }

    /// Takes the link of an attachment out of service.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) async fn discard_link(&self, host: &Host, record: &Record) -> Result<(), CniError> {
        if let Severed::Cut(cut) = self.sever(host, record).await? {
            self.put_aside(host, cut, record, None).await;
        }
        Ok(())
    }
}
