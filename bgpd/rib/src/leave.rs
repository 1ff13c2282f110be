//! Members that cannot keep up leave the log: what they have not read of it becomes marks, and is sent as the table has it
//! when they read on. However many leave at once, each message is decoded once.

use crate::group::Group;
use crate::log::Cursor;
use crate::member::Lag;
use crate::table::{Address, Path, Table};
use crate::writer;
use bgp_wire::Nlri;

impl Group {
    /// Takes members out of the log.
    pub(crate) fn leave<A: Address>(&mut self, table: &Table<A>, peers: &[u16]) {
        let mut leaving: Vec<(u16, Cursor)> = Vec::new();
        for peer in peers {
            let Some(member) = self.members.get_mut(peer) else { continue };
            // A message that it is in the middle of is read to its end.
            let tail = self.log.unfinished(*peer, member.cursor);
            if let Some(begun) =
                self.log.rest(*peer, member.cursor).next().and_then(|piece| piece.get(..tail))
            {
                member.outbox.append(tail, std::iter::once(begun));
            }
            self.log.advance(*peer, &mut member.cursor, tail);
            leaving.push((*peer, member.cursor));
        }
        let mut lags: Vec<Lag> = leaving.iter().map(|_| Lag::default()).collect();
        self.log.unread(&leaving, |message, readers| {
            writer::read_back(&self.export.profile, message, |nlri| {
                let dest = table.find(nlri.prefix);
                for reader in readers {
                    if let (Some((peer, _)), Some(lag)) = (leaving.get(*reader), lags.get_mut(*reader)) {
                        miss(table, *peer, lag, nlri, dest);
                    }
                }
            });
        });
        for ((peer, cursor), lag) in leaving.into_iter().zip(lags) {
            self.log.leave(cursor);
            if let Some(member) = self.members.get_mut(&peer) {
                member.lag = Some(Box::new(lag));
                self.lagging += 1;
            }
        }
    }
}

/// Notes that a member does not read a message about this route.
fn miss<A: Address>(table: &Table<A>, peer: u16, lag: &mut Lag, nlri: Nlri, dest: Option<u32>) {
    let Some(dest) = dest else { return lag.gone.push(nlri) };
    lag.mark(dest);
    // The number may be another path's by now, which this member is told of by the mark, or its own.
    let told = |(number, path): (u32, &Path)| number == nlri.path_id && path.peer != peer;
    if nlri.path_id != 0 && !table.paths_of(dest).any(told) {
        lag.gone.push(nlri);
    }
}
