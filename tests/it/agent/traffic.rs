//! A thousand new flows a second of each kind between two workloads, and which of them arrive.

use ocicat_tests::policy::packets::Packet;
use ocicat_tests::wire::Ear;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Time between two packets of a kind.
const INTERVAL: Duration = Duration::from_millis(1);

/// What is sent again and again, each time from another port.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its ends and destination port.
    pub packet: Packet,
    /// From the first ear to the second, or the other way round.
    pub forth: bool,
}

/// Running traffic.
pub struct Traffic {
    ears: [Ear; 2],
    kinds: Vec<Kind>,
    started: Instant,
    rounds: u32,
    heard: BTreeSet<u32>,
}

impl Traffic {
    pub fn new(ears: [Ear; 2], kinds: Vec<Kind>) -> Self {
        Self { ears, kinds, started: Instant::now(), rounds: 0, heard: BTreeSet::new() }
    }

    /// Sends for this long. Late by one sleep is late by all missed packets: they are sent at once, the rate holds.
    pub fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let due = self.started.elapsed().as_millis() / INTERVAL.as_millis();
            let mut burst = 0;
            while u128::from(self.rounds) < due && burst < 50 {
                self.round()?;
                burst += 1;
            }
            self.listen();
            std::thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn round(&mut self) -> anyhow::Result<()> {
        for (place, kind) in self.kinds.iter().enumerate() {
            let mut packet = kind.packet;
            packet.ports = packet.ports.map(|(_, port)| (1024 + (self.rounds % 60000) as u16, port));
            let number = self.rounds * self.kinds.len() as u32 + place as u32;
            self.ears[usize::from(!kind.forth)].send(&packet, number)?;
        }
        self.rounds += 1;
        Ok(())
    }

    fn listen(&mut self) {
        let count = self.kinds.len() as u32;
        for (place, ear) in self.ears.iter().enumerate() {
            // an answer that repeats the packet is heard where the packet came from
            let kinds = &self.kinds;
            let arrived = |number: &u32| kinds[(number % count) as usize].forth == (place == 1);
            self.heard.extend(ear.heard().into_iter().map(|heard| heard.number).filter(arrived));
        }
    }

    /// How many rounds were sent.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Waits for what is under way, and says of a kind which rounds from one on arrived.
    pub fn arrived(&mut self, kind: usize, from: u32) -> Vec<bool> {
        let settle = Instant::now();
        while settle.elapsed() < Duration::from_millis(100) {
            self.listen();
            std::thread::sleep(INTERVAL);
        }
        let count = self.kinds.len() as u32;
        (from..self.rounds).map(|round| self.heard.contains(&(round * count + kind as u32))).collect()
    }
}
