/// What a consumer reads and under which name.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    pub(crate) collapse: Vec<String>,
    pub(crate) acts_once: bool,
}

impl Subscription {
    /// The consumer group `kotinos.<name>` reads the topics, named without a prefix. The name is also the consumer's in
    /// the inbox: under a new name everything is read from the beginning again.
    #[must_use]
    pub fn new(name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Self { name: name.to_owned(), topics, collapse: Vec::new(), acts_once: false }
    }

    /// Topics of states, of whose parked records only the newest of a key counts: a good one heals a poison one. A
    /// consumer that was away for longer than they keep tombstones refuses to go on. Its effects must be versioned: after a
    /// restart an older state may come behind a newer one.
    #[must_use]
    pub fn collapse(mut self, topics: &[&str]) -> Self {
        self.collapse = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self
    }

    /// Its effects leave the house and cannot be taken back, as mails do: `consumer rebuild` is refused, since reading
    /// everything again would send everything again. One that keeps a projection needs no such thing.
    #[must_use]
    pub const fn acts_once(mut self) -> Self {
        self.acts_once = true;
        self
    }
}
