//! Panics of a thread's tasks, noticed where they happen: a runtime catches them, and tells only who waits for the task.

use observe::shutdown::Shutdown;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::rc::Rc;
use std::sync::Once;

/// What of this thread was heard, and whom to tell.
#[derive(Debug)]
struct Watched {
    shutdown: Shutdown,
    words: RefCell<Option<String>>,
}

thread_local! {
    static HERE: RefCell<Option<Rc<Watched>>> = const { RefCell::new(None) };
}

/// Watches its thread as long as it lives.
#[derive(Debug)]
pub(super) struct Watch(Rc<Watched>);

/// A panic on this thread fires `shutdown` from now on.
pub(super) fn watch(shutdown: &Shutdown) -> Watch {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            heard(panic);
        }));
    });
    let watched = Rc::new(Watched { shutdown: shutdown.clone(), words: RefCell::new(None) });
    HERE.with(|here| here.replace(Some(Rc::clone(&watched))));
    Watch(watched)
}

impl Watch {
    /// The words of the first panic there was.
    pub(super) fn panicked(&self) -> Option<String> {
        self.0.words.borrow().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        HERE.with(|here| here.replace(None));
    }
}

fn heard(panic: &PanicHookInfo<'_>) {
    // a thread that ends has nothing any more, and a second panic has nothing to add
    let watched = HERE.try_with(|here| here.try_borrow().ok().and_then(|here| here.clone()));
    let Ok(Some(watched)) = watched else { return };
    if let Ok(mut known) = watched.words.try_borrow_mut() {
        known.get_or_insert_with(|| words(panic.payload()).to_owned());
    }
    watched.shutdown.trigger("a task panicked");
}

/// What a panic says.
pub(super) fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_panic() {
        let caught = |run: fn()| std::panic::catch_unwind(run).unwrap_err();
        assert_eq!(words(caught(|| panic!("plain")).as_ref()), "plain");
        assert_eq!(words(caught(|| panic!("number {}", 1)).as_ref()), "number 1");
        assert_eq!(words(caught(|| std::panic::panic_any(7)).as_ref()), "without a word");
    }

    #[test]
    fn only_the_first_of_this_thread_while_it_is_watched() {
        let shutdown = Shutdown::default();
        let watch = watch(&shutdown);
        std::thread::spawn(|| panic!("elsewhere")).join().unwrap_err();
        assert_eq!((watch.panicked(), shutdown.reason()), (None, None));
        for word in ["first", "second"] {
            std::panic::catch_unwind(|| panic!("{word}")).unwrap_err();
        }
        assert_eq!(watch.panicked().as_deref(), Some("first"));
        assert!(shutdown.reason().is_some());
        drop(watch);
        let later = Shutdown::default();
        std::panic::catch_unwind(|| panic!("unwatched")).unwrap_err();
        assert_eq!(later.reason(), None);
    }
}
