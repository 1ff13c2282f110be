use super::*;
use cni_protocol::handover::{Call, Execute, Executed, HEADER, decode, encode, length};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;

fn read(stream: &mut Blocking) -> Message {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; length(header).unwrap()];
    stream.read_exact(&mut body).unwrap();
    decode(&body).unwrap()
}

/// Runs a server beside `work`, which speaks to it.
fn served<T: Send + 'static>(work: impl FnOnce(&Path) -> T + Send + 'static) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/cni.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = observe::socket::listen(&path).unwrap();
        let shutdown = Shutdown::default();
        let agent = Agent::open(&directory.path().join("state")).unwrap();
        let server = tokio::spawn(serve(listener, agent, None, Health::default(), shutdown.clone()));
        let done = tokio::task::spawn_blocking({
            let path = path.clone();
            move || work(&path)
        });
        let done = tokio::time::timeout(Duration::from_secs(30), done).await.expect("in time").unwrap();
        shutdown.trigger("the test has ended");
        server.await.unwrap().unwrap();
        done
    })
}

fn call(variables: &[(&str, &str)], config: &str) -> Message {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Message::Call(Call { program: "calico".into(), variables: variables.collect(), config: config.into() })
}

fn answered(message: &Message) -> Answer {
    let frame = encode(message).unwrap();
    said(frame)
}

fn said(bytes: Vec<u8>) -> Answer {
    served(move |path| {
        let mut stream = Blocking::connect(path).unwrap();
        stream.write_all(&bytes).unwrap();
        match read(&mut stream) {
            Message::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn a_call_is_answered_as_the_plugin_itself_would() {
    let answer = answered(&call(&[("CNI_COMMAND", "VERSION")], ""));
    assert_eq!((answer.exit, answer.stdout.as_str()), (0, cni_protocol::version::VERSION_REPLY));
    let answer = answered(&call(&[("CNI_COMMAND", "ADD")], "{}"));
    assert_eq!(answer.exit, 1);
    assert!(answer.stdout.contains("required env variables"), "{}", answer.stdout);
}

#[test]
fn rubbish_is_answered_with_an_error() {
    for (bytes, says) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "does not speak the protocol"),
        (encode(&Message::Answer(Answer::default())).unwrap(), "a call was expected"),
        (
            encode(&Message::Call(Call { program: "weave".into(), ..Call::default() })).unwrap(),
            "unknown plugin \\\"weave\\\"",
        ),
    ] {
        let answer = said(bytes);
        assert!(answer.exit == 1 && answer.stdout.contains(says), "{}", answer.stdout);
    }
}

#[test]
fn a_frame_in_small_pieces_is_taken_whole() {
    let answer = served(|path| {
        let mut stream = Blocking::connect(path).unwrap();
        for byte in encode(&call(&[("CNI_COMMAND", "VERSION")], "")).unwrap() {
            stream.write_all(&[byte]).unwrap();
        }
        read(&mut stream)
    });
    let Message::Answer(answer) = answer else { panic!("{answer:?}") };
    assert!(answer.stdout.contains("supportedVersions"), "{}", answer.stdout);
}

#[test]
fn whoever_called_executes_other_plugins() {
    let executed = served(|path| {
        // the two ends of a connection, without a server between
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = path;
        let (ours, theirs) = Blocking::pair().unwrap();
        let other = std::thread::spawn(move || {
            let mut theirs = theirs;
            let Message::Execute(program) = read(&mut theirs) else { panic!() };
            let executed = Executed { good: true, stdout: program.file, ending: String::new() };
            theirs.write_all(&encode(&Message::Executed(executed)).unwrap()).unwrap();
            // the second question finds nobody
        });
        let answers = runtime.block_on(async {
            ours.set_nonblocking(true).unwrap();
            let connection = Connection::new(tokio::net::UnixStream::from_std(ours).unwrap());
            let remote = Remote(connection);
            let program = |file: &str| Execute { file: file.into(), ..Execute::default() };
            let first = crate::Executor::execute(&remote, program("/a")).await;
            (first, crate::Executor::execute(&remote, program("/b")).await)
        });
        other.join().unwrap();
        answers
    });
    assert_eq!(executed.0, Executed { good: true, stdout: "/a".into(), ending: String::new() });
    assert!(!executed.1.good && executed.1.ending.contains("has gone"), "{:?}", executed.1);
}

#[test]
fn ways_to_connect_are_told_apart() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kept = KeptStores::default();
        let to = |endpoint: &'static str| {
            let all: BTreeMap<&str, &str> =
                [("DATASTORE_TYPE", "etcdv3"), ("ETCD_ENDPOINTS", endpoint)].into();
            move |name: &str| all.get(name).map(|value| (*value).to_owned())
        };
        let first = kept.connect(&to("http://127.0.0.1:1")).await.unwrap();
        let again = kept.connect(&to("http://127.0.0.1:1")).await.unwrap();
        let other = kept.connect(&to("http://127.0.0.1:2")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &other));
    });
}
