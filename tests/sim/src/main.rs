//! The command line of the simulator; `cargo xtask sim` passes its arguments here.
//!
//! | argument | meaning |
//! |---|---|
//! | `--seeds N` | play N seeds (default 200) |
//! | `--from S` | the first of them (default 1) |
//! | `--seed S` | play one seed |
//! | `--trace` | print its whole story |
//! | `--jobs N` | threads (default: one per core) |
//! | `--explore ...` | try deviations at every output of small worlds: see `explore` |
//! | `--keep-going` | do not stop at the first failing seed |

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quorate_sim::{Counters, Options, Report, run};

#[derive(Debug, Default)]
struct Arguments {
    seeds: Option<u64>,
    from: Option<u64>,
    seed: Option<u64>,
    jobs: Option<u64>,
    trace: bool,
    keep_going: bool,
}

fn parse() -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> Result<Option<u64>, String> {
            let value = words.next().ok_or(format!("{word} needs a number"))?;
            value.parse().map(Some).map_err(|_| format!("{word}: `{value}` is not a number"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.from = number()?,
            "--seed" => arguments.seed = number()?,
            "--jobs" => arguments.jobs = number()?,
            "--trace" => arguments.trace = true,
            "--keep-going" => arguments.keep_going = true,
            other => return Err(format!("`{other}` is not known; see the head of main.rs")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "--explore").is_some() {
        return quorate_sim::explore::command(words);
    }
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("sim: {text}");
            return ExitCode::from(2);
        }
    };
    let held = match arguments.seed {
        Some(seed) => one(seed, arguments.trace),
        None => many(&arguments),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, trace: bool) -> bool {
    let options = Options { trace, ..Options::draw(seed) };
    let mut out = std::io::stdout().lock();
    // A reader that has seen enough closes the pipe; that changes nothing about the verdict.
    let _ = writeln!(out, "{options:#?}");
    let report = run(options);
    for line in &report.trace {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "{report}\n{}", report.counters);
    report.violation.is_none()
}

fn many(arguments: &Arguments) -> bool {
    let from = arguments.from.unwrap_or(1);
    let end = from + arguments.seeds.unwrap_or(200);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let next = AtomicU64::new(from);
    let total = Mutex::new((Counters::default(), 0_u64, Vec::<u64>::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.unwrap_or(cores) {
            // Steps build large values on the stack in unoptimised builds.
            let builder = std::thread::Builder::new().stack_size(64 << 20);
            let work = || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(Options::draw(seed));
                    take(&report, &total);
                    if report.violation.is_some() && !arguments.keep_going {
                        next.store(end, Ordering::Relaxed);
                    }
                }
            };
            builder.spawn_scoped(scope, work).expect("a thread");
        }
    });
    let (counters, runs, failed) = total.into_inner().expect("no thread died");
    let took = begun.elapsed().as_secs_f64();
    println!("{runs} seeds in {took:.1} s, {} failed {failed:?}", failed.len());
    println!("{counters}");
    println!(
        "speed: {:.0} x real time, {:.0} core steps per second",
        counters.simulated_us as f64 / 1e6 / took,
        counters.steps as f64 / took
    );
    failed.is_empty()
}

fn take(report: &Report, total: &Mutex<(Counters, u64, Vec<u64>)>) {
    let mut total = total.lock().expect("no thread died");
    total.0.add(&report.counters);
    total.1 += 1;
    if report.violation.is_some() {
        println!("{report}");
        total.2.push(report.options.seed);
    }
}
