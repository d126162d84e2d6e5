use super::*;
use proptest::prelude::*;

fn about() -> RecordingMetadata {
    RecordingMetadata {
        caller: "alice@example.com".to_owned(),
        namespace: "shop".to_owned(),
        pod: "web-0".to_owned(),
        way: "exec".to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), "ls \"$HOME\"\n".to_owned()],
        stdin_recorded: true,
        ..RecordingMetadata::default()
    }
}

fn began() -> Timestamp {
    "2026-11-26T17:54:46.5Z".parse().unwrap()
}

/// The lines of a recording, each of which must be JSON.
pub(crate) fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whose recording it is, as its first line says.
fn about_in(first_line: &Value) -> RecordingMetadata {
    serde_json::from_value(first_line["tka"]["about"].clone()).unwrap()
}

/// The bytes of a stream, as a reader of the table of events finds them.
pub(crate) fn bytes_of(lines: &[Value], wanted: Stream) -> Vec<u8> {
    let (mut output, mut bytes, mut tail) = ("stdout".to_owned(), Vec::new(), Vec::new());
    for event in &lines[1..] {
        let (code, data) = (event[1].as_str().unwrap(), event[2].as_str().unwrap());
        let is_of = |stream: Stream| stream == wanted && (stream.codes()[0] != "o" || output == stream.name());
        let decoded = |text: &str| BASE64.decode(text.as_bytes()).unwrap();
        match code {
            "m" if matches!(data, "stdout" | "stderr") => data.clone_into(&mut output),
            "T" => {
                let (stream, data) = data.split_once(' ').unwrap();
                if stream == wanted.name() {
                    tail = decoded(data);
                }
            }
            code => {
                let Some(stream) = Stream::ALL
                    .into_iter()
                    .find(|stream| stream.codes().contains(&code) && is_of(*stream))
                else {
                    continue;
                };
                tail.clear();
                let is_text = stream.codes()[0] == code;
                bytes.extend(if is_text {
                    data.as_bytes().to_vec()
                } else {
                    decoded(data)
                });
            }
        }
    }
    bytes.extend(tail);
    bytes
}

fn events(lines: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines[1..]
        .iter()
        .map(|event| (text(&event[1]), text(&event[2])))
        .collect()
}

#[test]
fn header_says_who_and_what() {
    let mut cast = Cast::new(&about(), began());
    let bytes = cast.take();
    assert!(cast.is_empty());
    let header = &lines(&bytes)[0];
    assert_eq!(
        (&header["version"], &header["width"], &header["height"]),
        (&2.into(), &80.into(), &24.into())
    );
    assert_eq!(header["timestamp"], 1_795_715_686);
    assert_eq!(header["title"], "exec in shop/web-0 by alice@example.com");
    assert_eq!(header["tka"]["began"], "2026-11-26T17:54:46.5Z");
    assert_eq!(about_in(header), about());
}

#[test]
fn streams_are_told_apart() {
    let mut cast = Cast::new(&about(), began());
    let at = Duration::from_millis(1500);
    for said in [
        ChannelEvent::Size { columns: 120, rows: 40 },
        ChannelEvent::Bytes(Stream::Stdin, b"ls\n"),
        ChannelEvent::Bytes(Stream::Stdout, b"a\r\n"),
        ChannelEvent::Bytes(Stream::Stderr, b"no such file\n"),
        ChannelEvent::Bytes(Stream::Stdout, b"b"),
        ChannelEvent::StdinEnds,
        ChannelEvent::Control(9, b"ping"),
        ChannelEvent::Control(10, b""),
        ChannelEvent::Other(7, b"?"),
        ChannelEvent::Size {
            columns: 0,
            rows: 65535,
        },
        ChannelEvent::Bytes(
            Stream::Error,
            br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#,
        ),
    ] {
        cast.record(at, said);
    }
    cast.end(at, "ended");
    let lines = lines(&cast.take());
    let events = events(&lines);
    let events: Vec<_> = events
        .iter()
        .map(|(code, data)| (code.as_str(), data.as_str()))
        .collect();
    let expected = [
        ("r", "120x40"),
        ("i", "ls\n"),
        ("o", "a\r\n"),
        ("m", "stderr"),
        ("o", "no such file\n"),
        ("m", "stdout"),
        ("o", "b"),
        ("m", "stdin ends"),
        ("U", "ping cGluZw=="),
        ("U", "7 Pw=="),
        ("m", "size 0x65535"),
    ];
    assert_eq!(events[..11], expected);
    assert_eq!(events[11].0, "e");
    assert_eq!(events[12..], [("x", "3"), ("m", "ended")]);
    assert_eq!(lines[1][0], 1.5);
}

#[test]
fn input_is_left_out_unless_it_is_kept() {
    let mut cast = Cast::new(
        &RecordingMetadata {
            stdin_recorded: false,
            ..about()
        },
        began(),
    );
    cast.take();
    cast.record(Duration::ZERO, ChannelEvent::Bytes(Stream::Stdin, b"secret"));
    assert!(cast.take().is_empty());
    // A server that sends on the channel for input would show its client what is nowhere else.
    cast.record(Duration::ZERO, ChannelEvent::Other(0, b"shown"));
    assert!(String::from_utf8_lossy(&cast.take()).contains("0 c2hvd24="));
}

#[test]
fn character_that_has_begun_is_there_and_is_whole_later() {
    let mut cast = Cast::new(&about(), began());
    cast.record(Duration::ZERO, ChannelEvent::Bytes(Stream::Stdout, b"a\xe2\x82"));
    let mut bytes = cast.take().to_vec();
    assert_eq!(bytes_of(&lines(&bytes), Stream::Stdout), b"a\xe2\x82");
    assert!(cast.take().is_empty(), "it is told once");
    cast.record(Duration::ZERO, ChannelEvent::Bytes(Stream::Stdout, b"\xac!"));
    bytes.extend(cast.take());
    let lines = lines(&bytes);
    assert_eq!(
        events(&lines).last().unwrap(),
        &("o".to_owned(), "\u{20ac}!".to_owned())
    );
    assert_eq!(bytes_of(&lines, Stream::Stdout), "a\u{20ac}!".as_bytes());
}

#[test]
fn clock_never_runs_back() {
    let mut cast = Cast::new(&about(), began());
    cast.mark(Duration::from_secs(2), "a");
    cast.mark(Duration::from_secs(1), "b");
    let lines = lines(&cast.take());
    assert_eq!(
        (lines[1][0].as_f64(), lines[2][0].as_f64()),
        (Some(2.000_001), Some(2.000_001))
    );
}

#[test]
fn exit_codes_are_read_from_the_status() {
    assert_eq!(exit_code(br#"{"status":"Success"}"#), Some(0));
    assert_eq!(exit_code(br#"{"status":"Failure","reason":"InternalError"}"#), None);
    assert_eq!(exit_code(b"{"), None);
    assert_eq!(exit_code(b""), None);
}

/// What is said, of any stream.
fn said() -> impl Strategy<Value = (u8, Vec<u8>, bool)> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        "\\PC{0,20}".prop_map(String::into_bytes),
        Just("\u{2028}\u{0}\"\\\n\r\u{1b}[31m".as_bytes().to_vec()),
    ];
    (0u8..4, bytes, any::<bool>())
}

proptest! {
    /// However hostile the bytes, each line is a JSON array of three. Each stream has all of its bytes, at the end and whenever lines are
    /// taken.
    #[test]
    fn no_byte_is_lost(said in proptest::collection::vec(said(), 0..24), texts in proptest::collection::vec(any::<String>(), 6)) {
        let about = RecordingMetadata {
            caller: texts[0].clone(),
            pod: texts[1].clone(),
            reason: Some(texts[2].clone()),
            command: texts[3..].to_vec(),
            ..about()
        };
        let (mut cast, mut written, mut sent) = (Cast::new(&about, began()), Vec::new(), [const { Vec::new() }; 4]);
        for (at, (stream, bytes, is_taken)) in said.iter().enumerate() {
            cast.record(Duration::from_millis(at as u64), ChannelEvent::Bytes(Stream::ALL[usize::from(*stream)], bytes));
            sent[usize::from(*stream)].extend_from_slice(bytes);
            if *is_taken {
                written.extend(cast.take());
                let lines = lines(&written);
                for stream in Stream::ALL {
                    prop_assert_eq!(&bytes_of(&lines, stream), &sent[stream as usize]);
                }
            }
        }
        cast.end(Duration::from_secs(9), &texts[4]);
        written.extend(cast.take());
        let lines = lines(&written);
        prop_assert!(lines[1..].iter().all(|event| event.as_array().unwrap().len() == 3 && event[0].is_f64()));
        for stream in Stream::ALL {
            prop_assert_eq!(&bytes_of(&lines, stream), &sent[stream as usize]);
        }
        prop_assert_eq!(about_in(&lines[0]), about);
    }
}

mod fuzz {
    use super::*;
    use crate::channels::Channels;
    use crate::frames::Side;

    /// Whatever a client and a server send, each line of the recording is JSON that a player reads. The recording is not many times as
    /// long.
    #[test]
    fn streams() {
        bolero::check!().with_type::<Vec<(bool, Vec<u8>)>>().for_each(|sent| {
            let mut cast = Cast::new(&about(), began());
            let mut channels = [Channels::new(Side::Client), Channels::new(Side::Server)];
            let (mut written, mut length) = (Vec::new(), 0);
            for (is_server, bytes) in sent {
                let _ = channels[usize::from(*is_server)].read(bytes, |said| cast.record(Duration::ZERO, said));
                written.extend(cast.take());
                length += bytes.len();
            }
            cast.end(Duration::ZERO, "ended");
            written.extend(cast.take());
            assert!(written.len() <= 2048 + sent.len() * 128 + length * 64);
            for event in &lines(&written)[1..] {
                assert!(event[0].is_f64() && event[1].as_str().unwrap().len() == 1 && event[2].is_string());
            }
        });
    }
}
