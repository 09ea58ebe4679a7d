//! How the final stands: what results-feed answers, and whether everybody is shown just that.

use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::results::v1::{
    GetResultRequest, ListMedalStandingsRequest, MedalStanding, ResultRow,
    result_service_client::ResultServiceClient,
};
use testkit::races::FINAL_100M;

use crate::{Commentator, Page, Walk, WebVisitor, until};

/// Columns of a page's result: rank, name, organisation, mark, remark.
type Columns = [&'static str; 5];

/// The fans' pages, Alice's and the public's, are laid out alike.
const PAGE: Columns = [
    "#live tbody td:nth-child(1)",
    "#live tbody th",
    "#live tbody td:nth-child(5)",
    "#live tbody td:nth-child(6)",
    "#live tbody td:nth-child(7)",
];
const DESK: Columns = [
    "#rows [data-part=rank]",
    "#rows [data-part=name]",
    "#rows [data-part=noc]",
    "#rows [data-part=mark]",
    "#rows [data-part=irm]",
];

/// How pages say a status.
type Words = [(&'static str, &'static str); 2];

const ENGLISH: Words = [("OFFICIAL", "Official"), ("PROTESTED", "Protested")];
/// Alice's language.
const JAPANESE: Words = [("OFFICIAL", "公式"), ("PROTESTED", "抗議中")];

/// The final and the medals at one time.
#[derive(Debug)]
pub struct Standing {
    /// Result status.
    pub status: String,
    /// The lines in their order.
    pub rows: Vec<ResultRow>,
    medals: Vec<MedalStanding>,
}

impl Standing {
    /// Asks until the final stands like this, and checks that who won leads the medals once it is official.
    pub async fn wait_for(walk: &Walk<'_>, status: &str) -> Result<Self> {
        let mut results = ResultServiceClient::new(walk.daniel.channel(walk.suite, Service::ResultsFeed)?);
        let standing = until(&format!("the final to be {status}"), async || {
            let request = GetResultRequest { unit: FINAL_100M.to_owned() };
            let result = results.get_result(request).await?.into_inner().result;
            let result = result.context("no result in the answer")?;
            ensure!(result.result_status == status, "the result is {}", result.result_status);
            let medals = results.list_medal_standings(ListMedalStandingsRequest {}).await?.into_inner();
            Ok(Some(Self { status: result.result_status, rows: result.rows, medals: medals.standings }))
        })
        .await?;
        ensure!(standing.rows.len() == 8, "the result has {} lines", standing.rows.len());
        Ok(standing)
    }

    /// The first line.
    pub fn winner(&self) -> Result<&ResultRow> {
        self.rows.first().context("a result without lines")
    }

    /// Who won leads the medals.
    pub fn check_medals(&self) -> Result<()> {
        let (winner, best) = (self.winner()?, self.medals.first().context("there are no medal standings")?);
        ensure!(best.noc == winner.noc, "{} won, and {} leads the medals", winner.noc, best.noc);
        Ok(())
    }

    /// Ranks in the order of the lines; empty for whoever has none.
    pub fn ranks(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.rank.as_str()).collect()
    }

    /// A line each, for people.
    pub fn lines(&self) -> Vec<String> {
        let line = |cells: &[String; 5]| {
            cells.iter().filter(|cell| !cell.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        self.cells().iter().map(line).collect()
    }

    /// What the public is shown without signing in: the result, and the medal table.
    pub async fn is_on_the_fans_pages(&self, walk: &Walk<'_>) -> Result<String> {
        let mut fan = WebVisitor::new("en")?;
        let base = format!("{}/results", walk.suite.addresses.url(Service::ResultsFeed));
        let unit = format!("{base}/live/{FINAL_100M}");
        let status = until("the final on the fans' page", async || {
            let page = fan.visit(&unit).await?.ok()?;
            self.is_shown(&page, PAGE, ENGLISH).map(Some)
        })
        .await?;
        let medals = format!("{base}/medals");
        let lines = until("the medal table", async || {
            let page = fan.visit(&medals).await?.ok()?;
            let shown = page.texts("#live tbody tr");
            let expected: Vec<String> = self.medals.iter().map(line).collect();
            ensure!(shown == expected, "the medal table shows {shown:?}, not {expected:?}");
            Ok(Some(shown))
        })
        .await?;
        let first = lines.first().context("the medal table is empty")?;
        Ok(format!("fans' pages: {status}, {}; medals: {first}", self.first_line()?))
    }

    /// What a commentator is shown.
    pub async fn is_on_the_desk(&self, desk: &mut Commentator) -> Result<String> {
        let status = until("the final on the commentators' desk", async || {
            let page = desk.desk(FINAL_100M).await?;
            self.is_shown(&page, DESK, ENGLISH).map(Some)
        })
        .await?;
        Ok(format!("commentators' desk {}: {status}, {}", desk.path(), self.first_line()?))
    }

    /// What Alice is shown.
    pub async fn is_on_alices_page(&self, walk: &mut Walk<'_>) -> Result<String> {
        let (suite, alice) = (walk.suite, &mut walk.alice);
        until("the final on Alice's page", async || {
            let page = alice.portal(suite, &format!("/my/results/{FINAL_100M}")).await?;
            let status = self.is_shown(&page, PAGE, JAPANESE)?;
            let (path, heading) = (page.url.path(), page.heading());
            Ok(Some(format!("Alice's page {path}: \"{heading}\", {status}, {}", self.first_line()?)))
        })
        .await
    }

    fn first_line(&self) -> Result<String> {
        let lines = self.lines();
        lines.into_iter().next().context("a result without lines")
    }

    // Gives how the page says the status.
    fn is_shown(&self, page: &Page, columns: Columns, words: Words) -> Result<String> {
        let status = page.texts("#result-status").join("");
        let expected = words.iter().find(|(code, _)| *code == self.status).map(|(_, word)| *word);
        ensure!(
            expected == Some(status.as_str()),
            "{} says {status}, while the final is {}",
            page.url.path(),
            self.status
        );
        let columns = columns.map(|column| page.texts(column));
        let shown: Vec<[String; 5]> = (0..columns[0].len())
            .map(|at| columns.each_ref().map(|column| column.get(at).cloned().unwrap_or_default()))
            .collect();
        let expected = self.cells();
        ensure!(shown == expected, "{} shows {shown:?}, not {expected:?}", page.url.path());
        Ok(status)
    }

    fn cells(&self) -> Vec<[String; 5]> {
        let cells = |row: &ResultRow| [&row.rank, &row.name, &row.noc, &row.mark, &row.irm].map(Clone::clone);
        self.rows.iter().map(cells).collect()
    }
}

fn line(medals: &MedalStanding) -> String {
    let MedalStanding { noc, rank, gold, silver, bronze, total } = medals;
    format!("{rank} {noc} {gold} {silver} {bronze} {total}")
}
