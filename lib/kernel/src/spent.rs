//! How long this process has worked in the kernel through this crate, as two metrics: `ocicat_kernel_calls` and
//! `ocicat_kernel_nanoseconds`, by kind. The kernel works while it is called, so the time of a call is the time of its work, and
//! of whatever it waits for, such as its lock on all links.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    /// What this thread does is part of a call that is counted as a whole.
    static PART: Cell<bool> = const { Cell::new(false) };
}

/// Kinds of calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A netlink request.
    Request,
    /// A netlink answer or event that is read, or a look that finds none.
    Answer,
    /// What is done in another namespace.
    Namespace,
    /// A parameter read or set.
    Parameter,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Answer => "answer",
            Kind::Namespace => "namespace",
            Kind::Parameter => "parameter",
        }
    }
}

/// A call that has begun; it counts once it is dropped.
#[derive(Debug)]
pub(crate) struct Call(Kind, Instant);

impl Call {
    /// A call of one thread for which others work: see [`part`].
    pub(crate) fn begin(kind: Kind) -> Self {
        Self(kind, Instant::now())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let time = u64::try_from(self.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let kind = self.0.name();
        metrics::counter!("ocicat_kernel_calls", "kind" => kind).increment(1);
        metrics::counter!("ocicat_kernel_nanoseconds", "kind" => kind).increment(time);
    }
}

/// Counts what the kernel does in `work`.
pub(crate) fn counted<T>(kind: Kind, work: impl FnOnce() -> T) -> T {
    let _call = (!PART.get()).then(|| Call::begin(kind));
    work()
}

/// Counts `work` as one call, and nothing inside by itself.
pub(crate) fn whole<T>(kind: Kind, work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            PART.set(self.0);
        }
    }
    counted(kind, || {
        let _before = Before(PART.replace(true));
        work()
    })
}

/// Carries out on a thread made for it what somebody's [`Call`] counts, its thread included.
pub(crate) fn part<T>(work: impl FnOnce() -> T) -> T {
    PART.set(true);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::{Counter, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::Relaxed;
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::Duration;

    /// Counters by name, of the thread it is set for.
    #[derive(Default)]
    struct Counts(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Counts {
        fn get(&self, name: &str) -> u64 {
            let all = self.0.lock().unwrap();
            all.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, count)| count.load(Relaxed)).sum()
        }
    }

    impl Recorder for Counts {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let kind: Vec<&str> = key.labels().map(Label::value).collect();
            let mut all = self.0.lock().unwrap();
            Counter::from_arc(Arc::clone(
                all.entry(format!("{} {}", key.name(), kind.join(" "))).or_default(),
            ))
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> metrics::Gauge {
            metrics::Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }

    #[test]
    fn a_call_and_what_others_do_for_it_count_once() {
        let counts = Counts::default();
        let slow = || thread::sleep(Duration::from_millis(20));
        let begun = Instant::now();
        metrics::with_local_recorder(&counts, || {
            counted(Kind::Request, slow);
            let _call = Call::begin(Kind::Namespace);
            let helper = || metrics::with_local_recorder(&counts, || part(|| counted(Kind::Parameter, slow)));
            thread::scope(|scope| scope.spawn(helper).join().unwrap());
        });
        let took = begun.elapsed();
        assert_eq!(counts.get("ocicat_kernel_calls"), 2);
        let spent = Duration::from_nanos(counts.get("ocicat_kernel_nanoseconds"));
        assert!(spent >= Duration::from_millis(40) && spent <= took, "{spent:?} of {took:?}");
    }

    #[test]
    fn what_is_asked_of_the_kernel_counts() {
        let counts = Counts::default();
        let more = |kind: &str, work: &dyn Fn()| {
            let name = format!("ocicat_kernel_calls {kind}");
            let before = counts.get(&name);
            metrics::with_local_recorder(&counts, work);
            assert!(counts.get(&name) > before, "{kind}");
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let here = crate::Netns::current().unwrap();
        let kernel = crate::Netlink::open(&here).unwrap();
        use crate::Kernel;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        let there = crate::Netns::create_at(&path).unwrap();
        more("namespace", &|| there.run(|| ()).unwrap());
        crate::Netns::delete_at(&path).unwrap();
        more("parameter", &|| drop(runtime.block_on(kernel.sysctl("net/ipv4/ip_forward")).unwrap()));
        for kind in ["request", "answer"] {
            more(kind, &|| drop(runtime.block_on(kernel.links()).unwrap()));
        }
    }
}
