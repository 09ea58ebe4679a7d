use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap()];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn heard(bytes: &[u8]) -> Option<Said> {
    take(&mut bytes.to_vec())
}

#[test]
fn control_frames_are_understood() {
    assert_eq!(heard(&masked(0x89, b"Hello")), Some(Said::Ping(b"Hello".to_vec())));
    assert_eq!(heard(&masked(0x8a, b"")), Some(Said::Pong));
    assert_eq!(heard(&masked(0x88, b"")), Some(Said::Close(None)));
    assert_eq!(heard(&masked(0x88, &[3, 232, b'x'])), Some(Said::Close(Some([3, 232]))));
    let mut two = [masked(0x89, b"1"), masked(0x89, b"2")].concat();
    assert_eq!(take(&mut two), Some(Said::Ping(b"1".to_vec())));
    assert_eq!(take(&mut two), Some(Said::Ping(b"2".to_vec())));
    assert!(two.is_empty());
}

#[test]
fn what_is_no_control_frame_of_a_client_is_told_apart() {
    assert_eq!(heard(&masked(0x81, b"text")), Some(Said::Message));
    // Of a message of 16 exbibytes nothing but the head is waited for.
    assert_eq!(
        heard(&[0x82, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]),
        Some(Said::Message)
    );
    for nonsense in [
        // Not masked, cut in parts, with a bit of an extension, of no kind, too long; a reason of one byte, with a code
        // that nobody may send, or that is no text.
        vec![0x89, 0x00],
        vec![0x81, 0x00],
        masked(0x09, b""),
        masked(0xc9, b""),
        masked(0x8b, b""),
        vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0],
        masked(0x88, &[3]),
        masked(0x88, &[3, 237]),
        masked(0x88, &[0, 1]),
        masked(0x88, &[3, 232, 0xff]),
    ] {
        assert_eq!(heard(&nonsense), Some(Said::Nonsense), "{nonsense:?}");
    }
}

#[test]
fn half_a_frame_is_waited_for() {
    let whole = masked(0x89, &[7; LONGEST_CONTROL]);
    for length in 0..whole.len() {
        assert_eq!(heard(&whole[..length]), None, "{length}");
    }
    assert!(heard(&whole).is_some());
}

proptest! {
    // Whatever a reader says, what is kept of it has a bound.
    #[test]
    fn what_waits_is_short(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut said = bytes;
        while let Some(Said::Ping(_) | Said::Pong | Said::Close(_)) = take(&mut said) {}
        if take(&mut said).is_none() {
            prop_assert!(said.len() < 14 + LONGEST_CONTROL);
        }
    }
}

#[test]
fn heads_are_as_short_as_they_can_be() {
    for (length, head) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (65_535, vec![0x81, 126, 255, 255]),
        (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        assert_eq!(Head::new(TEXT, length).bytes(), head, "{length}");
    }
}

async fn pair() -> (Wire, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (Wire::new(ours, b""), theirs)
}

#[tokio::test]
async fn messages_come_whole_at_a_reader_that_takes_them_slowly() {
    let (mut wire, mut theirs) = pair().await;
    let messages: Vec<Bytes> = (0..40_u8).map(|one| Bytes::from(vec![b'a' + one % 26; 200_000])).collect();
    let expected: Vec<u8> =
        messages.iter().flat_map(|one| [Head::new(TEXT, one.len()).bytes(), one].concat()).collect();
    let writing = tokio::spawn(async move { wire.write(&messages).await });
    let mut came = vec![0; expected.len()];
    for piece in came.chunks_mut(100_000) {
        theirs.read_exact(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(came == expected);
    assert_eq!(writing.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn to_give_up_waiting_for_a_reader_loses_nothing_that_it_said() {
    let (mut wire, mut theirs) = pair().await;
    let ping = masked(0x89, b"in two pieces");
    let (one, two) = ping.split_at(5);
    theirs.write_all(one).await.unwrap();
    assert!(timeout(Duration::from_millis(50), wire.hear()).await.is_err());
    theirs.write_all(two).await.unwrap();
    assert_eq!(wire.hear().await, Some(Said::Ping(b"in two pieces".to_vec())));
    drop(theirs);
    assert_eq!(wire.hear().await, None);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_known_by_its_standstill() {
    let (mut wire, _theirs) = pair().await;
    wire.patience = Duration::from_millis(100);
    let messages = vec![Bytes::from(vec![b'a'; 1 << 20]); 16];
    assert_eq!(wire.write(&messages).await, Err(Unwritten::StoodStill));
}
