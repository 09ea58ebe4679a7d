use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::{Page, WebVisitor, patience::PATIENCE};

/// A page that its script keeps live by server-sent events, and comes back with the last event's id after a break, as
/// browsers do (HTML, 9.2).
#[derive(Debug)]
pub struct LivePage {
    feed: Url,
    answer: Option<reqwest::Response>,
    buffer: Vec<u8>,
    last_event_id: Option<String>,
    /// Frames but heartbeats, in order.
    pub frames: Vec<Value>,
}

impl LivePage {
    /// The feed that a page names.
    ///
    /// # Errors
    /// It names none.
    pub fn of(page: &Page) -> Result<Self> {
        let named = page.attributes("[data-feed]", "data-feed").into_iter().next();
        let feed = page.url.join(&named.context("the page names no feed")?)?;
        Ok(Self { feed, answer: None, buffer: Vec::new(), last_event_id: None, frames: Vec::new() })
    }

    /// Where the events come from.
    #[must_use]
    pub fn feed(&self) -> &Url {
        &self.feed
    }

    /// Connects, unless it is connected.
    ///
    /// # Errors
    /// The feed is not there.
    pub async fn connect(&mut self, browser: &WebVisitor) -> Result<()> {
        if self.answer.is_none() {
            self.buffer.clear();
            self.answer = Some(browser.open_events(&self.feed, self.last_event_id.as_deref()).await?);
        }
        Ok(())
    }

    /// Reads on until a frame fits.
    ///
    /// # Errors
    /// None within a minute.
    pub async fn read_to(
        &mut self,
        browser: &WebVisitor,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(frame) = self.next_frame()? {
                let is_last = fits(&frame);
                if frame["t"] != "hb" {
                    self.frames.push(frame);
                }
                if is_last {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < until, "waited {} s in vain for a frame: {what}", PATIENCE.as_secs());
            if self.connect(browser).await.is_err() {
                sleep(Duration::from_millis(200)).await;
                continue;
            }
            let Some(answer) = &mut self.answer else { continue };
            match timeout(PATIENCE, answer.chunk()).await.context("the page's feed is silent")? {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) | Err(_) => self.answer = None,
            }
        }
    }

    // The next whole event's frame; comments and `retry` hold none.
    fn next_frame(&mut self) -> Result<Option<Value>> {
        while let Some(end) = self.buffer.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = std::str::from_utf8(&block)?;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            let (id, data) = (field("id: "), field("data: "));
            if id.is_some() {
                self.last_event_id = id;
            }
            if let Some(data) = data {
                return Ok(Some(serde_json::from_str(&data)?));
            }
        }
        Ok(None)
    }
}
