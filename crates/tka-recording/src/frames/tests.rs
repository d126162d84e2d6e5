use super::*;
use proptest::prelude::*;

/// A frame with these first four bits, opcode and payload.
pub(crate) fn frame(side: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let mask = if side == Side::Client { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..126 => frame.push(mask + u8::try_from(short).unwrap()),
        long @ 126..65536 => {
            frame.push(mask + 126);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
        long => {
            frame.push(mask + 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    if side == Side::Server {
        frame.extend(payload);
        return frame;
    }
    let key = [7, 0, 255, 129];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// What a direction says: whole messages, and control frames in between, in the order of their ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReadMessage {
    Message(Vec<u8>),
    Control(u8, Vec<u8>),
}

fn read(side: Side, parts: &[&[u8]]) -> Result<Vec<ReadMessage>, FrameError> {
    let (mut frames, mut told, mut message) = (Frames::new(side), Vec::new(), None);
    for part in parts {
        frames.read(part, |piece| match piece {
            FrameEvent::Begin => assert_eq!(message.replace(Vec::new()), None),
            FrameEvent::Data(data) => message.as_mut().unwrap().extend(data),
            FrameEvent::End => told.push(ReadMessage::Message(message.take().unwrap())),
            FrameEvent::Control { opcode, payload } => told.push(ReadMessage::Control(opcode, payload.to_vec())),
        })?;
    }
    Ok(told)
}

#[test]
fn messages_are_read_whatever_their_length() {
    for side in [Side::Client, Side::Server] {
        for length in [0, 1, 125, 126, 127, 65535, 65536, 200_000] {
            let payload: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let bytes = frame(side, 0x82, &payload);
            assert_eq!(
                read(side, &[&bytes]),
                Ok(vec![ReadMessage::Message(payload)]),
                "{length}"
            );
        }
    }
}

#[test]
fn control_frames_stand_between_the_frames_of_a_message() {
    let bytes = [
        frame(Side::Server, 0x01, b"on"),
        frame(Side::Server, 0x89, b"ping"),
        frame(Side::Server, 0x00, b""),
        frame(Side::Server, 0x8a, b""),
        frame(Side::Server, 0x80, b"e"),
        frame(Side::Server, 0x88, b"\x03\xe8bye"),
    ];
    let expected = vec![
        ReadMessage::Control(9, b"ping".to_vec()),
        ReadMessage::Control(10, Vec::new()),
        ReadMessage::Message(b"one".to_vec()),
        ReadMessage::Control(8, b"\x03\xe8bye".to_vec()),
    ];
    assert_eq!(read(Side::Server, &[&bytes.concat()]), Ok(expected));
}

/// The API server would take the second frame for input, where this reads a terminal's size that is none.
#[test]
fn message_of_a_client_is_one_frame() {
    let hidden = [
        frame(Side::Client, 0x02, b"\x04"),
        frame(Side::Client, 0x80, b"\x00rm -rf x\n"),
    ];
    assert_eq!(read(Side::Client, &[&hidden.concat()]), Err(FrameError::Split));
    assert_eq!(read(Side::Client, &[&hidden[1]]), Err(FrameError::Split));
}

#[test]
fn what_breaks_the_protocol_is_an_error_from_then_on() {
    let server = |first: u8, payload: &[u8]| frame(Side::Server, first, payload);
    for (bytes, error) in [
        (server(0xc2, b"deflated"), FrameError::Extension),
        (server(0x92, b""), FrameError::Extension),
        (server(0x83, b""), FrameError::Opcode(3)),
        (server(0x8b, b""), FrameError::Opcode(11)),
        (server(0x09, b""), FrameError::Control),
        (server(0x89, &[0; 126]), FrameError::Control),
        (server(0x80, b"goes on"), FrameError::Sequence),
        ([server(0x02, b"a"), server(0x82, b"b")].concat(), FrameError::Sequence),
        (frame(Side::Client, 0x82, b"masked"), FrameError::Mask),
        (frame(Side::Client, 0x89, b"masked"), FrameError::Mask),
        (vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
    ] {
        let mut frames = Frames::new(Side::Server);
        assert_eq!(frames.read(&bytes, |_| {}), Err(error), "{bytes:?}");
        let mut is_told = false;
        assert_eq!(frames.read(&server(0x82, b"fine"), |_| is_told = true), Err(error));
        assert!(!is_told);
    }
    let unmasked = read(Side::Client, &[&server(0x82, b"plain")]);
    assert_eq!(unmasked, Err(FrameError::Mask));
}

#[test]
fn huge_frame_is_told_as_it_comes_and_not_kept() {
    let mut frames = Frames::new(Side::Server);
    let head = [0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    frames.read(&head, |_| {}).unwrap();
    let mut length = 0;
    for _ in 0..64 {
        let count = |piece: FrameEvent<'_>| {
            length += if let FrameEvent::Data(data) = piece {
                data.len()
            } else {
                0
            }
        };
        frames.read(&[0; 1024], count).unwrap();
    }
    assert_eq!(length, 64 * 1024);
}

proptest! {
    /// Whatever is sent in whatever frames is read as it was sent, wherever it is split.
    #[test]
    fn splitting_changes_nothing(
        is_client: bool,
        messages in proptest::collection::vec(proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..4), 0..5),
        cuts in proptest::collection::vec(1usize..40, 1..20),
    ) {
        let side = if is_client { Side::Client } else { Side::Server };
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            // A client's messages are one frame each.
            let message = if is_client { &message[..1] } else { message.as_slice() };
            for (at, (payload, has_ping)) in message.iter().enumerate() {
                let last = if at + 1 == message.len() { 0x80 } else { 0 };
                let opcode = if at == 0 { 2 } else { 0 };
                if *has_ping {
                    bytes.extend(frame(side, 0x89, &payload[..payload.len().min(125)]));
                    expected.push(ReadMessage::Control(9, payload[..payload.len().min(125)].to_vec()));
                }
                bytes.extend(frame(side, last | opcode, payload));
            }
            expected.push(ReadMessage::Message(message.iter().flat_map(|(payload, _)| payload.clone()).collect()));
        }
        let (mut left, mut parts) = (bytes.as_slice(), Vec::new());
        for cut in cuts.into_iter().cycle() {
            if left.is_empty() {
                break;
            }
            let (part, rest) = left.split_at(cut.min(left.len()));
            parts.push(part);
            left = rest;
        }
        prop_assert_eq!(read(side, &parts), Ok(expected));
    }
}

mod fuzz {
    use super::*;

    /// Any bytes, split anywhere, say the same as in one piece, and nothing is told that was not sent.
    #[test]
    fn frames() {
        bolero::check!()
            .with_type::<(bool, u8, Vec<u8>)>()
            .for_each(|(is_client, cut, bytes)| {
                let side = if *is_client { Side::Client } else { Side::Server };
                let tell = |parts: &[&[u8]]| {
                    let (mut frames, mut told, mut length, mut error) = (Frames::new(side), Vec::new(), 0, None);
                    for part in parts {
                        let read = frames.read(part, |piece| match piece {
                            FrameEvent::Begin => told.push(None),
                            FrameEvent::Data(data) => {
                                length += data.len();
                                told.extend(data.iter().map(|byte| Some(u16::from(*byte))));
                            }
                            FrameEvent::End => told.push(Some(256)),
                            FrameEvent::Control { opcode, payload } => {
                                assert!(payload.len() <= CONTROL);
                                length += payload.len();
                                told.push(Some(257 + u16::from(opcode)));
                                told.extend(payload.iter().map(|byte| Some(u16::from(*byte))));
                            }
                        });
                        error = read.err();
                    }
                    assert!(length <= bytes.len());
                    (told, error)
                };
                let whole = tell(&[bytes]);
                let parts: Vec<&[u8]> = bytes.chunks(usize::from(*cut).max(1)).collect();
                if !bytes.is_empty() {
                    assert_eq!(whole, tell(&parts));
                }
            });
    }
}
