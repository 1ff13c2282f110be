use super::*;

fn message(fill: u8, len: usize) -> Vec<u8> {
    let mut message = vec![fill; len];
    message[16..18].copy_from_slice(&(len as u16).to_be_bytes());
    message
}

fn all(log: &Log, peer: u16, cursor: Cursor) -> Vec<u8> {
    log.rest(peer, cursor).flatten().copied().collect()
}

/// Three messages, the second of peer 7's routes; a private one for peer 7.
fn segment() -> Segment {
    let bytes = [message(1, 30), message(2, 40), message(3, 50)].concat();
    Segment::new(bytes, vec![(7, 30, 70)], vec![(7, message(9, 25).into())])
}

#[test]
fn the_source_skips_its_routes_and_reads_what_is_for_it_alone() {
    let mut log = Log::default();
    let start = log.end();
    log.push(segment(), 2);
    assert_eq!(all(&log, 1, start), [message(1, 30), message(2, 40), message(3, 50)].concat());
    assert_eq!(all(&log, 7, start), [message(9, 25), message(1, 30), message(3, 50)].concat());
}

#[test]
fn any_partial_reads_give_the_same_bytes_and_know_their_message() {
    for step in 1..=60 {
        let mut log = Log::default();
        let start = log.end();
        log.push(segment(), 1);
        log.push(segment(), 1);
        let expected = all(&log, 7, start);
        let (mut cursor, mut read) = (start, Vec::new());
        loop {
            let rest = all(&log, 7, cursor);
            assert_eq!(rest, expected[read.len()..]);
            assert_eq!(log.unfinished(7, cursor), unfinished(&expected, read.len()), "after {}", read.len());
            if rest.is_empty() {
                break;
            }
            let n = step.min(rest.len());
            read.extend_from_slice(&rest[..n]);
            log.advance(7, &mut cursor, n);
        }
        assert_eq!((read, log.len(), cursor), (expected, 0, log.end()));
    }
}

#[test]
fn a_segment_goes_with_its_last_reader_whether_it_reads_or_leaves() {
    let mut log = Log::default();
    let start = log.end();
    log.push(segment(), 2);
    log.push(segment(), 2);
    let mut one = start;
    log.advance(1, &mut one, 120);
    assert!(log.is_last(start) && !log.is_last(one));
    assert_eq!(log.len(), 2 * 145);
    log.leave(start);
    assert_eq!(log.len(), 145);
    log.advance(1, &mut one, 120);
    assert_eq!((log.len(), one), (0, log.end()));
}

#[test]
fn a_segment_with_nothing_for_a_member_is_passed_without_reading() {
    let mut log = Log::default();
    let mut cursor = log.end();
    log.push(Segment::new(message(1, 30), vec![(7, 0, 30)], Vec::new()), 1);
    assert_eq!(all(&log, 7, cursor), []);
    log.advance(7, &mut cursor, 0);
    assert_eq!((log.len(), cursor), (0, log.end()));
}

#[test]
fn what_members_have_not_read_is_told_message_by_message_each_once() {
    let mut log = Log::default();
    let start = log.end();
    log.push(segment(), 3);
    log.push(segment(), 3);
    // One has read nothing, 7 its private message and the first shared one, one the first segment.
    let (mut seven, mut late) = (start, start);
    log.advance(7, &mut seven, 55);
    log.advance(2, &mut late, 120);
    let members = [(1, start), (7, seven), (2, late)];
    let mut told = Vec::new();
    log.unread(&members, |message, readers| told.push((message[0], readers.to_vec())));
    let first = [(1, vec![0]), (2, vec![0]), (3, vec![0, 1])];
    let second = [(9, vec![1]), (1, vec![0, 1, 2]), (2, vec![0, 2]), (3, vec![0, 1, 2])];
    assert_eq!(told, [&first[..], &second[..]].concat());
    // The same as each reads by itself.
    for (place, (peer, cursor)) in members.into_iter().enumerate() {
        let all = all(&log, peer, cursor);
        let mine = told.iter().filter(|(_, readers)| readers.contains(&place)).map(|(fill, _)| *fill);
        assert_eq!(mine.collect::<Vec<_>>(), messages(&all).map(|message| message[0]).collect::<Vec<_>>());
    }
}
