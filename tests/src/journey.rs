//! The driver of `make demo` and `make run`.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use domain::Service;
use e2e::{PASSWORD, Shape, Step, Suite, Walk};
use testkit::Mail;
use tokio::signal::unix::{SignalKind, signal};

/// Goes one fan's whole way through the suite, over its public interfaces.
///
/// The services are started as processes of their own, with a database and topics of their own; programs are looked for
/// beside this one (`cargo build --workspace --bins`). PostgreSQL, Kafka and keys are those of a stack:
///
///   deploy/local/stack run demo -- target/debug/journey demo
#[derive(Debug, Parser)]
#[command(name = "journey", version, verbatim_doc_comment)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// A process for each of the seven services instead of one for all.
    #[arg(long, global = true)]
    services: bool,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// The nine steps with their evidence, then the end; exit code 0 when everything was as it should be.
    ///
    /// Alice in Tokyo and Bob in Paris sign up, tell about themselves, get a campaign or not, are sent to the IOC's CRM
    /// or not, follow the 100 m final, withdraw and sign out; the last step prints the trace of one edit.
    Demo,
    /// The suite with four people who can sign in, until Ctrl-C; prints where to look, and each mail as it comes.
    Run,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shape = if arguments.services { Shape::Services } else { Shape::AllInOne };
    let done = match arguments.command {
        Command::Demo => demo(shape).await,
        Command::Run => run(shape).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("journey: FAILED: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(shape: Shape) -> Result<()> {
    let started = Instant::now();
    let suite = start("demo", shape).await?;
    let walked = async {
        let mut walk = Walk::begin(&suite, &mut print).await?;
        walk.go(&mut print).await
    };
    let walked = interruptible(walked).await;
    let walked = match walked {
        Ok(()) => Ok(()),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => Err(suite.with_logs(error).await),
    };
    println!("journey: stopping the suite");
    let stopped = suite.stop().await;
    walked?;
    stopped?;
    println!(
        "journey: all nine steps were as they should be, after {:.1} s",
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

async fn run(shape: Shape) -> Result<()> {
    let suite = start("run", shape).await?;
    let ran = interruptible(async {
        let mut walk = Walk::begin(&suite, &mut print).await?;
        walk.sign_up(&mut print).await?;
        show_places(&walk);
        show_mails(&suite).await
    });
    let ran = ran.await;
    println!("journey: stopping the suite");
    let stopped = suite.stop().await;
    if let Err(error) = ran
        && !error.is::<Interrupted>()
    {
        return Err(error);
    }
    stopped
}

async fn start(name: &str, shape: Shape) -> Result<Suite> {
    println!("journey: starting {} processes and the simulated CRM", shape.services().len());
    let started = Instant::now();
    let suite = Suite::start(name, shape).await?;
    println!(
        "journey: ready after {:.1} s, logs in {}",
        started.elapsed().as_secs_f32(),
        suite.folder.display()
    );
    Ok(suite)
}

/// Somebody pressed Ctrl-C.
#[derive(Debug)]
struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

async fn interruptible(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => Err(Interrupted.into()),
        pressed = tokio::signal::ctrl_c() => {
            pressed?;
            Err(Interrupted.into())
        }
    }
}

fn print(step: &Step) {
    let Step { number, title, evidence, took } = step;
    println!("\n{number}. {title} ({:.1} s)", took.as_secs_f32());
    for line in evidence {
        println!("   {line}");
    }
}

fn show_places(walk: &Walk<'_>) {
    let addresses = &walk.suite.addresses;
    println!("\nthe suite is up; Ctrl-C ends it");
    println!("   My Page           {}/my", addresses.url(Service::Portal));
    println!("   identity          {}/.well-known/openid-configuration", addresses.url(Service::Identity));
    println!("   live results      {}/results/live", addresses.url(Service::ResultsFeed));
    println!("   ticket shop       {}", walk.suite.second_rp.login_url());
    println!("   simulated CRM     {}/_sim/dump", addresses.crm_control_url());
    for service in walk.suite.shape.services() {
        println!(
            "   gRPC, metrics     {}, {} ({service})",
            addresses.grpc_url(service),
            addresses.metrics_url(service)
        );
    }
    let people = [walk.alice.address, walk.bob.address, walk.chie.address, walk.daniel.address];
    println!("   sample people     {}, password: {PASSWORD}", people.join(", "));
    println!("\nmails, as they come:");
}

async fn show_mails(suite: &Suite) -> Result<()> {
    let mut shown = suite.sink.mails().len();
    loop {
        let mails = suite.sink.mails();
        for mail in mails.iter().skip(shown) {
            show_mail(mail);
        }
        shown = mails.len();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

fn show_mail(mail: &Mail) {
    println!("\n   to {}: {}", String::from_utf8_lossy(&mail.to), mail.subject());
    for line in mail.text().lines().filter(|line| !line.trim().is_empty()) {
        println!("      {line}");
    }
}
