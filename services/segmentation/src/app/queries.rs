use domain::ProfileId;

use super::App;
use crate::{
    Error,
    explain::{Explained, explain},
    freeze::Watermark,
    person::Person,
    rule::{Rule, bind},
    segment::{Segment, State},
    store,
};

impl App {
    /// How many people a rule holds for, now.
    pub async fn count_rule(&self, rule: Rule) -> Result<(usize, Watermark), Error> {
        let known = self.known_traits().await?;
        rule.check(&known).map_err(|violations| {
            Error::Invalid(
                violations.into_iter().map(|v| chassis::FieldViolation::new(v.path, v.rule)).collect(),
            )
        })?;
        let alive = Rule::All(vec![rule.canonical(), Rule::Alive]);
        let (members, watermark) = self.ready_index()?.members(&alive, self.moment());
        Ok((members.len(), watermark))
    }

    /// Who is in a segment, ascending after an id. The segment needs a purpose.
    pub async fn list_members(
        &self,
        id_or_key: &str,
        after: Option<ProfileId>,
        limit: usize,
    ) -> Result<(Vec<ProfileId>, Watermark), Error> {
        let segment = self.get_segment(id_or_key).await?;
        if segment.purpose.is_none() {
            return Err(Error::NoPurpose);
        }
        let rule = self.compiled(&segment).await?;
        let (members, watermark) = self.ready_index()?.members(&rule, self.moment());
        let page =
            members.into_iter().filter(|id| after.is_none_or(|after| *id > after)).take(limit).collect();
        Ok((page, watermark))
    }

    /// Which of these segments a person is in, and whether the index knows the person.
    pub async fn check_membership(
        &self,
        profile_id: ProfileId,
        asked: &[String],
    ) -> Result<(Vec<String>, bool), Error> {
        let Some(person) = self.ready_index()?.find(profile_id) else { return Ok((Vec::new(), false)) };
        let mut held = Vec::new();
        for id_or_key in asked {
            let Some(segment) = store::find(&self.db, id_or_key).await? else { continue };
            if segment.state == State::Active && self.compiled(&segment).await?.holds(&person, self.moment())
            {
                held.push(id_or_key.clone());
            }
        }
        Ok((held, true))
    }

    /// Why a person is in a segment, or not.
    pub async fn explain(
        &self,
        id_or_key: &str,
        profile_id: ProfileId,
    ) -> Result<(Explained, Watermark), Error> {
        let segment = self.get_segment(id_or_key).await?;
        let rule = self.compiled(&segment).await?;
        let index = self.ready_index()?;
        let person = index.find(profile_id).unwrap_or_else(|| Person::unknown(profile_id));
        Ok((explain(&rule, &person, self.moment()), index.watermark()))
    }

    /// A segment's rule, bound to its purpose where it has one.
    pub(super) async fn compiled(&self, segment: &Segment) -> Result<Rule, Error> {
        match &segment.purpose {
            Some(purpose) => Ok(bind(&segment.rule, purpose, &self.known_traits().await?)),
            None => Ok(Rule::All(vec![segment.rule.clone(), Rule::Alive])),
        }
    }

    // An index that has not read everything would answer "no" where it does not know.
    pub(super) fn ready_index(&self) -> Result<&crate::index::Index, Error> {
        if self.index.is_caught_up() { Ok(&self.index) } else { Err(Error::NotCaughtUp) }
    }
}
