//! DNS messages, as far as the service records of a domain need them (RFC 1035 §4, RFC 2782). The system's own resolver
//! has no call for them, and a whole resolver is much for one question.

/// `SRV` of RFC 2782, `IN`, and the bits of a header's flags that are looked at.
const SRV: u16 = 33;
const INTERNET: u16 = 1;
const RESPONSE: u16 = 0x8000;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
/// Length of a header.
const HEADER: usize = 12;
/// A name is at most 255 bytes, so it never needs more jumps than this.
const JUMPS: usize = 127;

/// One server of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// Lower goes first.
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Without the final dot.
    pub(super) target: String,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The records, perhaps none.
    Services(Vec<Service>),
    /// It does not fit: to be asked again over TCP.
    Truncated,
    /// A response code other than "no error"; 3 is "no such name".
    Refused(u8),
}

/// The question for the service records of `name`; `None` when it cannot be a name.
pub(super) fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(HEADER + name.len() + 6);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() > 253 {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(SRV.to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    Some(message)
}

/// Reads the answer to `question`. `None` for anything that is none: somebody else's message, or half of one.
pub(super) fn answer(question: &[u8], message: &[u8]) -> Option<Answer> {
    let word = |at: usize| read_u16(message, at);
    let flags = word(2)?;
    let asked = question.get(HEADER..)?;
    let same = message.get(..2)? == question.get(..2)?
        && message.get(HEADER..HEADER + asked.len())?.eq_ignore_ascii_case(asked);
    if !same || flags & RESPONSE == 0 || word(4)? != 1 {
        return None;
    }
    if flags & TRUNCATED != 0 {
        return Some(Answer::Truncated);
    }
    if let [_, code] = (flags & 0xf).to_be_bytes()
        && code != 0
    {
        return Some(Answer::Refused(code));
    }
    let mut at = HEADER + asked.len();
    let mut services = Vec::new();
    for _ in 0..word(6)? {
        at = name_at(message, at)?.1;
        let (kind, class) = (word(at)?, word(at + 2)?);
        let data = at + 10;
        at = data + usize::from(word(at + 8)?);
        // Such as the alias that led here.
        if (kind, class) != (SRV, INTERNET) {
            continue;
        }
        let (target, end) = name_at(message, data + 6)?;
        if end > at {
            return None;
        }
        // A root target says that the service is decidedly not offered (RFC 2782).
        if !target.is_empty() {
            services.push(Service {
                priority: word(data)?,
                weight: word(data + 2)?,
                port: word(data + 4)?,
                target,
            });
        }
    }
    services.sort();
    Some(Answer::Services(services))
}

fn read_u16(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// The name at `at`, and where what follows it begins. Names may go on elsewhere in the message (RFC 1035 §4.1.4).
fn name_at(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut end, mut jumps) = (String::new(), None, 0);
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some((name, end.unwrap_or(at + 1))),
            1..=63 => {
                let label = std::str::from_utf8(message.get(at + 1..at + 1 + length)?).ok()?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(label);
                at += 1 + length;
            }
            0xc0.. => {
                jumps += 1;
                end.get_or_insert(at + 2);
                at = usize::from(read_u16(message, at)? & 0x3fff);
            }
            _ => return None,
        }
        if jumps > JUMPS || name.len() > 255 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "_etcd-client._tcp.example.org";

    /// An answer as a server writes it: the alias first, names compressed.
    fn reply(flags: u16, records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
        let mut message = question(7, NAME).unwrap();
        message[2..4].copy_from_slice(&(RESPONSE | flags).to_be_bytes());
        message[6..8].copy_from_slice(&(records.len() as u16 + 1).to_be_bytes());
        let record = |kind: u16, data: &[u8]| {
            let mut record = vec![0xc0, 12];
            record.extend(kind.to_be_bytes());
            record.extend([0, 1, 0, 0, 0, 60]);
            record.extend((data.len() as u16).to_be_bytes());
            record.extend(data);
            record
        };
        message.extend(record(5, &[0xc0, 12]));
        for (priority, weight, port, target) in records {
            let mut data: Vec<u8> =
                [priority, weight, port].iter().flat_map(|word| word.to_be_bytes()).collect();
            if *target != "." {
                data.push(target.len() as u8);
                data.extend(target.as_bytes());
                // `example.org` of the question: header, then "_etcd-client" and "_tcp" with their lengths.
                data.extend([0xc0, 12 + 13 + 5]);
            } else {
                data.push(0);
            }
            message.extend(record(SRV, &data));
        }
        message
    }

    fn services(records: &[(u16, u16, u16, &str)]) -> Vec<Service> {
        match answer(&question(7, NAME).unwrap(), &reply(0, records)) {
            Some(Answer::Services(services)) => services,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records_are_read_in_the_order_of_their_priority() {
        let found = services(&[(10, 5, 2379, "b"), (0, 1, 2380, "a"), (0, 0, 0, ".")]);
        let texts: Vec<String> = found.iter().map(|s| format!("{}:{}", s.target, s.port)).collect();
        assert_eq!(texts, ["a.example.org:2380", "b.example.org:2379"]);
        assert_eq!((found[1].priority, found[1].weight), (10, 5));
        assert!(services(&[]).is_empty());
    }

    #[test]
    fn refusals_and_truncation() {
        let asked = question(7, NAME).unwrap();
        assert_eq!(answer(&asked, &reply(3, &[])), Some(Answer::Refused(3)));
        assert_eq!(answer(&asked, &reply(TRUNCATED, &[])), Some(Answer::Truncated));
    }

    #[test]
    fn what_answers_another_question_is_none() {
        let message = reply(0, &[(0, 0, 1, "a")]);
        assert_eq!(answer(&question(8, NAME).unwrap(), &message), None, "another id");
        assert_eq!(answer(&question(7, "_etcd-client._tcp.example.net").unwrap(), &message), None);
        assert_eq!(answer(&question(7, NAME).unwrap(), &question(7, NAME).unwrap()), None, "a question");
        assert!(answer(&question(7, "_ETCD-client._tcp.example.org.").unwrap(), &message).is_some());
    }

    #[test]
    fn names_that_are_none() {
        for bad in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(130)] {
            assert_eq!(question(1, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_that_leads_to_itself_ends() {
        let mut message = reply(0, &[(0, 0, 1, "a")]);
        let end = message.len();
        // The target's tail points at itself.
        message[end - 2..].copy_from_slice(&(0xc000 | (end as u16 - 2)).to_be_bytes());
        assert_eq!(answer(&question(7, NAME).unwrap(), &message), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(cut in 0usize..200, flips in proptest::collection::vec((0usize..200, any::<u8>()), 0..6)) {
            let mut message = reply(0, &[(0, 0, 1, "a"), (1, 2, 3, "b")]);
            for (at, byte) in flips {
                if let Some(place) = message.get_mut(at) {
                    *place = byte;
                }
            }
            message.truncate(cut);
            let _ = answer(&question(7, NAME).unwrap(), &message);
        }
    }
}
