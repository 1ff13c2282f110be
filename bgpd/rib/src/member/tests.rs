use super::*;

fn message(len: usize) -> Vec<u8> {
    let mut message = vec![1; len];
    message[16..18].copy_from_slice(&(len as u16).to_be_bytes());
    message
}

#[test]
fn a_new_member_is_marked_only_where_it_has_been() {
    let mut lag = Lag::whole();
    lag.walk = Some(100);
    for dest in [5, 99, 100, 1000, 5] {
        lag.mark(dest);
    }
    assert!(lag.is_marked(5) && lag.is_marked(99) && !lag.is_marked(100) && !lag.is_marked(1000));
    lag.unmark(99);
    lag.unmark(99);
    assert_eq!(lag.take_marked(10), [5]);
    assert!(!lag.is_done());
    lag.walk = None;
    assert!(lag.is_done());
    lag.mark(70_000);
    assert!(!lag.is_done());
    assert_eq!(lag.take_marked(10), [70_000]);
    assert!(lag.is_done());
}

#[test]
fn a_member_that_was_told_before_is_marked_everywhere() {
    let mut lag = Lag { walk: Some(1), again: true, ..Lag::default() };
    (1..200).for_each(|dest| lag.mark(dest));
    assert_eq!(lag.take_marked(64).len(), 64);
    assert_eq!(lag.take_marked(usize::MAX), (65..200).collect::<Vec<u32>>());
}

#[test]
fn an_outbox_knows_the_message_it_is_in_the_middle_of() {
    let mut outbox = Outbox::default();
    // Seven octets of a message that began in the log.
    outbox.append(7, std::iter::once([0u8; 7].as_slice()));
    outbox.open().extend_from_slice(&message(30));
    let mut left = Vec::new();
    for _ in 0..37 {
        left.push(outbox.unfinished());
        assert_eq!(outbox.advance(1), 0);
    }
    assert_eq!(left[..10], [7, 6, 5, 4, 3, 2, 1, 0, 29, 28]);
    assert_eq!((outbox.unfinished(), outbox.rest().len(), outbox.advance(3)), (0, 0, 3));
}

#[test]
fn what_is_appended_in_the_middle_of_a_message_does_not_lose_the_place() {
    let mut outbox = Outbox::default();
    outbox.open().extend_from_slice(&message(30));
    outbox.advance(10);
    outbox.open().extend_from_slice(&message(40));
    assert_eq!((outbox.rest().len(), outbox.unfinished()), (60, 20));
    outbox.advance(20);
    assert_eq!(outbox.unfinished(), 0);
    outbox.advance(1);
    assert_eq!(outbox.unfinished(), 39);
}
