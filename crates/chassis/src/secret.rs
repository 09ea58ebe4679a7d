use std::{
    convert::Infallible,
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Marks a value that stands in a file. Only the reading of the settings makes it, from a name with `_FILE`.
pub(crate) const FILE: &str = "file:";

/// A secret setting: given as it is, or as a file that is read again when it changes. It never prints.
#[derive(Clone)]
pub struct Secret(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<str>),
    File(Arc<File>),
}

struct File {
    path: PathBuf,
    // What was read last, and how old the file was then: a file that is being replaced leaves the last good value.
    held: Mutex<Option<(Option<SystemTime>, String)>>,
}

impl Secret {
    /// The value itself: each use is a place to look at in a review. A file's last line break does not count; a file that
    /// cannot be read gives what was read last, or nothing.
    #[must_use]
    pub fn expose(&self) -> String {
        match &self.0 {
            Source::Text(text) => text.to_string(),
            Source::File(file) => file.read(),
        }
    }
}

impl File {
    fn read(&self) -> String {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        if let Some((at, text)) = held.as_ref()
            && *at == changed
        {
            return text.clone();
        }
        match std::fs::read_to_string(&self.path) {
            Ok(text) => {
                let text = text.trim_end_matches(['\r', '\n']).to_owned();
                *held = Some((changed, text.clone()));
                text
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "a secret's file cannot be read");
                held.as_ref().map(|(_, text)| text.clone()).unwrap_or_default()
            }
        }
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(match text.strip_prefix(FILE) {
            Some(path) => Source::File(Arc::new(File { path: path.into(), held: Mutex::default() })),
            None => Source::Text(text.into()),
        }))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_keeps_its_value() {
        let path = std::env::temp_dir().join(format!("secret-{}", domain::new_id()));
        std::fs::write(&path, "one\n").unwrap();
        let secret: Secret = format!("{FILE}{}", path.display()).parse().unwrap();
        assert_eq!(secret.expose(), "one");
        let later = std::fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(2);
        std::fs::write(&path, "two\r\n").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(secret.expose(), "two");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secret.expose(), "two");
    }
}
