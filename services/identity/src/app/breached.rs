use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use aws_lc_rs::digest;

/// Passwords that are known from breaches: a file of their SHA-1 digests in ascending order, read where it is asked for.
#[derive(Debug)]
pub struct BreachedList {
    file: File,
    count: u64,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidList {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not one that `deploy/breached-list` wrote, or not the whole of it.
    #[error("must be a whole file that deploy/breached-list wrote")]
    Format,
    /// Two of its digests stand the wrong way round.
    #[error("is not in ascending order")]
    Order,
}

type Digest = [u8; SIZE];

/// Of a SHA-1 digest, in bytes. The head has the same length.
const SIZE: usize = 20;
/// The head's beginning; the number of digests follows, as 64 bits, the highest first.
const MAGIC: &[u8; 12] = b"kotinos-sha1";
/// At how many places the order is looked at before the file is believed: reading it all takes minutes.
const LOOKS: u64 = 1_024;

impl BreachedList {
    /// Opens a list.
    ///
    /// # Errors
    /// A file that is none, was cut short, or is out of order where it was looked at.
    pub fn open(path: &Path) -> Result<Self, InvalidList> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; SIZE];
        if length < head.len() as u64 {
            return Err(InvalidList::Format);
        }
        file.read_exact_at(&mut head, 0)?;
        let (magic, count) = head.split_at(MAGIC.len());
        let count = count.iter().fold(0_u64, |count, byte| count << 8 | u64::from(*byte));
        let whole = count.checked_add(1).and_then(|rows| rows.checked_mul(SIZE as u64));
        if magic != MAGIC || count == 0 || whole != Some(length) {
            return Err(InvalidList::Format);
        }
        let list = Self { file, count };
        list.check_order()?;
        Ok(list)
    }

    // Neighbours, and one place after the other.
    fn check_order(&self) -> Result<(), InvalidList> {
        let looks = self.count.min(LOOKS);
        let mut last = None;
        for look in 0..looks {
            // Both factors fit: a count of digests is far below 2^54.
            let at = self.count / looks * look + (self.count % looks) * look / looks;
            let digest = self.read(at)?;
            let unordered = last.is_some_and(|last| last >= digest);
            if unordered || at + 1 < self.count && digest >= self.read(at + 1)? {
                return Err(InvalidList::Order);
            }
            last = Some(digest);
        }
        Ok(())
    }

    /// Whether a password stands in it. It reads the file some thirty times at most: not for a thread that others wait for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn has(&self, password: &str) -> io::Result<bool> {
        // The lists of breaches are of SHA-1; nothing is kept by it here.
        let wanted = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let (mut from, mut to) = (0, self.count);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.read(middle)?.as_slice().cmp(wanted.as_ref()) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => return Ok(true),
            }
        }
        Ok(false)
    }

    fn read(&self, at: u64) -> io::Result<Digest> {
        let mut digest = [0; SIZE];
        // Behind the head.
        self.file.read_exact_at(&mut digest, (at + 1) * SIZE as u64)?;
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    struct Temporary(PathBuf);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn file(bytes: &[u8]) -> Temporary {
        let path = std::env::temp_dir().join(format!("kotinos-breached-{}", domain::new_id().simple()));
        fs::write(&path, bytes).unwrap();
        Temporary(path)
    }

    fn sha1(text: &str) -> Digest {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref().try_into().unwrap()
    }

    fn written(digests: &[Digest]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((digests.len() as u64).to_be_bytes());
        digests.iter().for_each(|digest| bytes.extend(digest));
        bytes
    }

    #[test]
    fn every_password_of_the_list_is_found_and_no_other() {
        for count in [1, 2, 3, 1_000, 5_000] {
            let mut digests: Vec<Digest> = (0..count).map(|number| sha1(&format!("in {number}"))).collect();
            digests.sort_unstable();
            let file = file(&written(&digests));
            let list = BreachedList::open(&file.0).unwrap();
            for number in 0..count {
                assert!(list.has(&format!("in {number}")).unwrap(), "{number} of {count}");
                assert!(!list.has(&format!("out {number}")).unwrap(), "{number} of {count}");
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        let mut sorted = [sha1("a"), sha1("b")];
        sorted.sort_unstable();
        let whole = written(&sorted);
        for wrong in [
            b"".to_vec(),
            b"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:37359195\r\n".repeat(40),
            whole[..whole.len() - 1].to_vec(),
            whole[..SIZE].to_vec(),
            written(&[]),
            [whole.as_slice(), &[0; SIZE]].concat(),
            vec![0; 4_000],
            vec![0xff; 4_000],
        ] {
            let file = file(&wrong);
            assert!(matches!(BreachedList::open(&file.0), Err(InvalidList::Format)), "{}", wrong.len());
        }
        for wrong in [written(&[sorted[1], sorted[0]]), written(&[sorted[0], sorted[0]])] {
            let file = file(&wrong);
            assert!(matches!(BreachedList::open(&file.0), Err(InvalidList::Order)));
        }
        assert!(matches!(BreachedList::open(Path::new("/nowhere/list")), Err(InvalidList::Io(_))));
    }
}
