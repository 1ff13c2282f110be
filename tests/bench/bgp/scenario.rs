//! The work that is measured.

use super::generator::{Generator, Speaker};
use super::message::{self, Attributes};
use super::subject::{self, ROUTER, ROUTER_AS, Shape, Subject};
use super::table::Table;
use crate::report::quantile;
use anyhow::Result;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Sessions that drop and return in a run: the time of one is too short to be told from chance.
const DROPS: usize = 20;

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Name on the command line and in the table.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Speakers that announce.
    senders: usize,
    /// Speakers that only listen.
    receivers: usize,
    /// Routes of each sender.
    routes: usize,
    /// Routes that share one set of attributes and one message.
    together: usize,
    /// One AS, the router reflects; else each speaker has an AS of its own.
    reflector: bool,
    /// Also: sessions drop and return, [`DROPS`] of them; one route changes, this often.
    changes: usize,
}

/// All scenarios, the smallest first.
pub const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "A100",
        about: "100,000 prefixes in 12,500 attribute sets, 1 eBGP sender, 1 receiver",
        senders: 1,
        receivers: 1,
        routes: 100_000,
        together: 8,
        reflector: false,
        changes: 0,
    },
    Scenario {
        name: "A",
        about: "1,000,000 prefixes in 125,000 attribute sets, 1 eBGP sender, 1 receiver",
        senders: 1,
        receivers: 1,
        routes: 1_000_000,
        together: 8,
        reflector: false,
        changes: 0,
    },
    Scenario {
        name: "B",
        about: "50 eBGP senders of 10,000 prefixes each, 10 receivers, everybody is fed everything",
        senders: 50,
        receivers: 10,
        routes: 10_000,
        together: 8,
        reflector: false,
        changes: 0,
    },
    Scenario {
        name: "C",
        about: "reflector, 500 clients with 4 blocks each",
        senders: 500,
        receivers: 0,
        routes: 4,
        together: 4,
        reflector: true,
        changes: 100,
    },
    Scenario {
        name: "D",
        about: "reflector, 1,000 clients with 4 blocks each",
        senders: 1000,
        receivers: 0,
        routes: 4,
        together: 4,
        reflector: true,
        changes: 0,
    },
];

/// What one run of a scenario found: the name of each figure (its unit is its last word) and the figure.
pub type Figures = Vec<(&'static str, f64)>;

/// What the speakers have to say, prepared.
struct Words {
    announce: Vec<Rc<[u8]>>,
    withdraw: Vec<Rc<[u8]>>,
}

impl Scenario {
    fn table(&self) -> Table {
        if self.reflector { Table::BLOCKS } else { Table::INTERNET }
    }

    /// Neighbours of the router, senders first.
    pub fn speakers(&self) -> Vec<Speaker> {
        let speaker = |n: usize| {
            let low = (n % 250 + 1) as u8;
            let own = self.own(n);
            let own = (own.start, own.len());
            if self.reflector {
                Speaker { address: Ipv4Addr::new(10, 1, (n / 250) as u8, low), asn: ROUTER_AS, own }
            } else {
                Speaker { address: Ipv4Addr::new(10, 0, 1, low), asn: 65001 + n as u32, own }
            }
        };
        (0..self.senders + self.receivers).map(speaker).collect()
    }

    fn own(&self, speaker: usize) -> Range<usize> {
        if speaker < self.senders { speaker * self.routes..(speaker + 1) * self.routes } else { 0..0 }
    }

    fn total(&self) -> usize {
        self.senders * self.routes
    }

    /// Attributes number `set` of a speaker: no two sets of a scenario are equal.
    fn attributes(&self, speaker: Speaker, set: usize) -> Attributes {
        let set = set as u32;
        if self.reflector {
            return Attributes {
                as_path: Vec::new(),
                next_hop: speaker.address,
                med: 0,
                // An ordinary route of a Calico node: `bgp.md` §6 of the contract.
                local_pref: Some(2_147_482_623),
                communities: Vec::new(),
            };
        }
        Attributes {
            as_path: vec![speaker.asn, 3000 + set % 47, 100_000 + set / 7, 200_000 + set],
            next_hop: speaker.address,
            med: set % 11,
            local_pref: None,
            communities: [set % 1000, set / 1000].map(|low| (speaker.asn << 16) | low).to_vec(),
        }
    }

    fn words(&self) -> Words {
        let speakers = self.speakers();
        let announce = |sender: usize| -> Rc<[u8]> {
            let routes: Vec<usize> = self.own(sender).collect();
            let messages = routes.chunks(self.together).map(|chunk| {
                let set = chunk[0] / self.together;
                message::announce(&self.attributes(speakers[sender], set).bytes(), &self.nlri(chunk))
            });
            messages.flatten().collect()
        };
        let withdraw = |sender: usize| -> Rc<[u8]> {
            let routes: Vec<usize> = self.own(sender).collect();
            // As many as fit one message of 4,096 bytes.
            routes.chunks(800).flat_map(|chunk| message::withdraw(&self.nlri(chunk))).collect()
        };
        Words {
            announce: (0..self.senders).map(announce).collect(),
            withdraw: (0..self.senders).map(withdraw).collect(),
        }
    }

    fn nlri(&self, routes: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        routes.iter().for_each(|&route| self.table().nlri(route, &mut bytes));
        bytes
    }

    /// Runs it once against a fresh subject and adds what was found before an error too. No phase may take longer than
    /// `patience`.
    ///
    /// # Errors
    /// The subject does not start, does not speak or does not finish.
    pub fn run(&self, subject: Subject, patience: Duration, figures: &mut Figures) -> Result<()> {
        let speakers = self.speakers();
        let words = self.words();
        subject::wire()?;
        let running = subject::start(
            subject,
            &Shape { speakers: speakers.clone(), reflector: self.reflector, kernel: false },
        )?;
        let mut generator = Generator::new(ROUTER, self.table(), &speakers)?;
        generator.establish(0..speakers.len(), Instant::now() + patience)?;
        // What a daemon does on its own when a session has come up shall be over.
        generator.idle(Duration::from_millis(500))?;
        figures.push(("sessions MB", running.peak()?));
        let all = |speaker: usize| self.total() - self.own(speaker).len();
        let mut cpu = running.cpu()?;
        let mut spent = || -> Result<f64> {
            let now = running.cpu()?;
            Ok(now - std::mem::replace(&mut cpu, now))
        };
        figures.push(("announce s", self.phase(&mut generator, &words.announce, all, patience)?));
        figures.push(("announce cpu s", spent()?));
        figures.push(("announce MB", running.peak()?));
        if self.changes > 0 {
            self.drops(&mut generator, &words, figures, patience)?;
            self.changes(&mut generator, figures, patience)?;
        }
        spent()?;
        figures.push(("withdraw s", self.phase(&mut generator, &words.withdraw, |_| 0, patience)?));
        figures.push(("withdraw cpu s", spent()?));
        figures.push(("again s", self.phase(&mut generator, &words.announce, all, patience)?));
        figures.push(("again cpu s", spent()?));
        figures.push(("end MB", running.peak()?));
        Ok(())
    }

    /// All senders speak; seconds from the first byte sent until every speaker holds what it should.
    fn phase(
        &self,
        generator: &mut Generator,
        words: &[Rc<[u8]>],
        holds: impl Fn(usize) -> usize,
        patience: Duration,
    ) -> Result<f64> {
        for speaker in 0..self.senders + self.receivers {
            generator.want(speaker, Some(holds(speaker)));
        }
        let begun = Instant::now();
        for (sender, words) in words.iter().enumerate() {
            generator.send(sender, words)?;
        }
        generator.run(begun + patience)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Sessions drop, as those of processes that die, and return: one at a time, another each time.
    fn drops(
        &self,
        generator: &mut Generator,
        words: &Words,
        figures: &mut Figures,
        patience: Duration,
    ) -> Result<()> {
        let speakers = self.senders + self.receivers;
        let all = self.total() - self.routes;
        let (mut drops, mut returns) = (Vec::new(), Vec::new());
        for one in 0..DROPS.min(speakers) {
            generator.want(one, None);
            (0..speakers)
                .filter(|&other| other != one)
                .for_each(|other| generator.want(other, Some(all - self.routes)));
            let begun = Instant::now();
            generator.close(one);
            generator.run(begun + patience)?;
            drops.push(begun.elapsed().as_secs_f64());
            generator.idle(Duration::from_millis(200))?;
            (0..speakers).for_each(|each| generator.want(each, Some(all)));
            let begun = Instant::now();
            generator.establish([one], begun + patience)?;
            generator.send(one, &words.announce[one])?;
            generator.run(begun + patience)?;
            returns.push(begun.elapsed().as_secs_f64());
            generator.idle(Duration::from_millis(50))?;
        }
        figures.extend([("drop s", quantile(&drops, 0.5)), ("slowest drop s", quantile(&drops, 1.0))]);
        figures
            .extend([("return s", quantile(&returns, 0.5)), ("slowest return s", quantile(&returns, 1.0))]);
        Ok(())
    }

    /// One route of one client changes.
    fn changes(&self, generator: &mut Generator, figures: &mut Figures, patience: Duration) -> Result<()> {
        let speakers = self.speakers();
        let others: Vec<usize> = (1..speakers.len()).collect();
        let mut times = Vec::new();
        for change in 1..=self.changes {
            generator.idle(Duration::from_millis(10))?;
            let route = self.own(0).start;
            let mut attributes = self.attributes(speakers[0], 0);
            attributes.med = change as u32;
            let bytes: Rc<[u8]> = message::announce(&attributes.bytes(), &self.nlri(&[route])).into();
            for &other in &others {
                generator.forget(other, route);
            }
            let begun = Instant::now();
            generator.send(0, &bytes)?;
            generator.run(begun + patience)?;
            times.push(begun.elapsed().as_secs_f64());
        }
        figures.extend([("change s", quantile(&times, 0.5)), ("slowest change s", quantile(&times, 1.0))]);
        Ok(())
    }
}

/// For [`super::fib`]: what one sender of `routes` prefixes says.
pub fn one_sender(routes: usize) -> (Vec<Speaker>, Rc<[u8]>, Table) {
    let scenario = Scenario {
        name: "",
        about: "",
        senders: 1,
        receivers: 0,
        routes,
        together: 8,
        reflector: false,
        changes: 0,
    };
    let announce = scenario.words().announce.remove(0);
    (scenario.speakers(), announce, scenario.table())
}
