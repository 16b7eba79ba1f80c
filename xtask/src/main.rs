//! The project's own commands: `cargo xtask help`.

mod agent;
mod apply;
mod board;
mod build;
mod config;
mod console;
mod control;
mod cpio;
mod deb;
mod debian;
mod demo;
mod distro;
mod esp;
mod explore;
mod extras;
mod fuzz;
mod image;
mod kernel;
mod lab;
mod latency;
mod line;
mod loopback;
mod manual;
mod model;
mod node;
mod paths;
mod process;
mod qemu;
mod qmp;
mod relay;
mod router;
mod scenario;
mod selftest;
mod sim;
mod size;
mod split;
mod switch;
mod target;
mod test;
mod toolbox;
mod uki;
mod vhdx;
mod vm;
mod wait;

use std::process::ExitCode;

use argh::FromArgs;

/// Build quorate, bake it into images and run clusters of real VMs.
#[derive(FromArgs)]
struct Xtask {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Apply(apply::Apply),
    Build(build::Build),
    Deb(deb::Deb),
    Demo(demo::Demo),
    Explore(explore::Explore),
    Fuzz(fuzz::Fuzz),
    Image(image::Image),
    Latency(latency::Latency),
    Manual(manual::Manual),
    Model(model::Model),
    Sim(sim::Sim),
    Size(size::Size),
    Split(split::Split),
    Test(test::Test),
    Vm(vm::Vm),
}

fn main() -> ExitCode {
    let done = match argh::from_env::<Xtask>().command {
        Command::Apply(apply) => apply.run(),
        Command::Build(build) => build.run(),
        Command::Deb(deb) => deb.run(),
        Command::Demo(demo) => demo.run(),
        Command::Explore(explore) => explore.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Image(image) => image.run(),
        Command::Latency(latency) => latency.run(),
        Command::Manual(manual) => manual.run(),
        Command::Model(model) => model.run(),
        Command::Sim(sim) => sim.run(),
        Command::Size(size) => size.run(),
        Command::Split(split) => split.run(),
        Command::Test(test) => test.run(),
        Command::Vm(vm) => vm.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one piece and without a backtrace, which RUST_BACKTRACE would put behind a returned error.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
