//! How many prefixes a second: an UPDATE of 500 read, written, and its attributes read. `cargo bench -p ocicat-bgp-wire`.

#![allow(clippy::expect_used)]

extern crate ocicat_bgp_wire as bgp_wire;

use bgp_wire::{AsPath, Attributes, Codec, Family, Message, Nlri, Origin, Prefix, UpdateEncoder, decode};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Medians of this many runs, each at least this long.
const RUNS: usize = 9;
const RUN: Duration = Duration::from_millis(100);

fn rate(name: &str, per_call: u32, mut call: impl FnMut()) {
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let (start, mut calls) = (Instant::now(), 0_u32);
            while start.elapsed() < RUN {
                (0..100).for_each(|_| call());
                calls += 100;
            }
            f64::from(calls) * f64::from(per_call) / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name}: {:.1} million/s", rates.get(RUNS / 2).copied().unwrap_or_default() / 1e6);
}

fn main() {
    let mut attributes = Attributes::new(
        Origin::Igp,
        AsPath::sequence(&[64512, 65001, 65002]),
        Ipv4Addr::new(192, 0, 2, 1).into(),
    );
    attributes.communities = [1, 2, 3].into();
    let routes: Vec<Nlri> = (0..500_u32)
        .filter_map(|i| Prefix::new(Ipv4Addr::from(0x0a00_0000 + (i << 8)).into(), 24))
        .map(|prefix| Nlri { path_id: 0, prefix })
        .collect();
    let (codec, mut encoder, mut message) = (Codec::default(), UpdateEncoder::new(), Vec::new());
    encoder
        .announce(&attributes, Family::Ipv4Unicast, &codec, routes.iter().copied(), &mut message)
        .expect("500 prefixes fit");
    rate("prefixes read", 500, || {
        let Ok(Message::Update(view)) = decode(black_box(&message), &codec) else { return };
        view.reaches().for_each(|reach| {
            reach.nlri.iter().for_each(|route| {
                black_box(route);
            })
        });
    });
    rate("attribute sets read", 1, || {
        let Ok(Message::Update(view)) = decode(black_box(&message), &codec) else { return };
        view.reaches().for_each(|reach| drop(black_box(view.attributes(&reach))));
    });
    let mut out = Vec::with_capacity(65536);
    rate("prefixes written", 500, || {
        out.clear();
        let routes = black_box(&routes).iter().copied();
        let _ = black_box(encoder.announce(&attributes, Family::Ipv4Unicast, &codec, routes, &mut out));
    });
}
