//! One virtual machine under QEMU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use fs_err as fs;

use crate::board::{Board, Firmware};
use crate::console::{self, Console};
use crate::distro::Installed;
use crate::kernel::Kernel;
use crate::paths::RunDir;
use crate::process::{self, Process};
use crate::qmp::Qmp;
use crate::{debian, switch, wait};

/// A fresh QEMU opens its monitor well before this, on any machine that could run the guest.
const MONITOR_WITHIN: Duration = Duration::from_secs(30);

/// How the guest's instructions are run.
#[derive(Clone, Copy, Debug)]
pub enum Accelerator {
    Kvm,
    Emulation,
}

impl Accelerator {
    /// KVM if asked for, or if the host has KVM of its own.
    ///
    /// /dev/kvm alone says too little: where the host is a para-virtual guest itself it opens and makes VMs, in which an
    /// ordinary kernel hangs at once. The modules of real hardware tell the difference.
    pub fn choose(kvm: bool) -> Self {
        let hardware = ["kvm_intel", "kvm_amd"].iter().any(|module| Path::new("/sys/module").join(module).exists());
        if kvm || (hardware && Path::new("/dev/kvm").exists()) { Self::Kvm } else { Self::Emulation }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            // One thread per virtual processor; device emulation then runs beside the guest.
            Self::Emulation => "tcg,thread=multi",
        }
    }
}

/// A VM, running or not; dropping it kills it.
pub struct Vm {
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    monitor: PathBuf,
    console: Console,
    process: Mutex<Option<Process>>,
    qmp: Mutex<Option<Qmp>>,
    /// How far the console has been read by waits.
    cursor: Mutex<u64>,
}

impl Vm {
    /// Describes a VM of the board that boots `initrd`, without any disk or network.
    pub fn describe(
        name: &str,
        board: &Board,
        kernel: &Kernel,
        initrd: &Path,
        words: &[String],
        accelerator: Accelerator,
        run: &RunDir,
    ) -> Self {
        let mut vm = Self::bare(name, board, accelerator, run);
        vm.add(&["-kernel", &kernel.vmlinux.display().to_string()]);
        vm.add(&["-initrd", &initrd.display().to_string()]);
        vm.add(&["-append", &board.command_line(words)]);
        vm
    }

    /// Describes a VM of the board whose firmware boots a disk in this format, which several VMs may share: none writes to it.
    pub fn describe_installed(
        name: &str,
        board: &Board,
        firmware: &Firmware,
        disk: (&Path, &str),
        accelerator: Accelerator,
        run: &RunDir,
    ) -> Result<Self> {
        let package = debian::unpack(&firmware.package, &[&firmware.package])?;
        // The variables are the machine's own, and stay from boot to boot.
        let variables = run.file(&format!("{name}.variables"));
        fs::copy(package.join(&firmware.variables), &variables)?;
        let mut vm = Self::bare(name, board, accelerator, run);
        let flash = "if=pflash,format=raw";
        vm.add(&["-drive", &format!("{flash},readonly=on,file={}", package.join(&firmware.code).display())]);
        vm.add(&["-drive", &format!("{flash},file={}", variables.display())]);
        let (path, format) = disk;
        vm.add(&["-drive", &format!("if=none,id=boot,readonly=on,format={format},file={}", path.display())]);
        vm.add(&["-device", &format!("{},drive=boot,bootindex=0", firmware.disk)]);
        Ok(vm)
    }

    /// Describes a VM of the board that boots an installed system from a layer of its own over that system's disk.
    pub fn describe_system(
        name: &str,
        board: &Board,
        system: &Installed,
        words: &[String],
        accelerator: Accelerator,
        run: &RunDir,
    ) -> Result<Self> {
        let layer = run.file(&format!("{name}.qcow2"));
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&system.root).arg(&layer);
        process::run(&mut create)?;
        let mut vm = Self::bare(name, board, accelerator, run);
        vm.add(&["-kernel", &system.kernel.display().to_string()]);
        vm.add(&["-initrd", &system.initrd.display().to_string()]);
        vm.add(&["-append", &board.command_line(words)]);
        vm.add(&["-drive", &format!("if=none,id=root,format=qcow2,file={}", layer.display())]);
        vm.add(&["-device", "virtio-blk-pci,drive=root"]);
        Ok(vm)
    }

    /// A VM of the board that has nothing to boot.
    fn bare(name: &str, board: &Board, accelerator: Accelerator, run: &RunDir) -> Self {
        let monitor = run.socket(&format!("{name}.qmp"));
        let console = Console::new(run.file(&format!("{name}.input")), run.file(&format!("{name}.console")));
        let mut vm = Self {
            name: name.into(),
            arguments: Vec::new(),
            log: run.file(&format!("{name}.qemu")),
            monitor,
            console,
            process: Mutex::default(),
            qmp: Mutex::default(),
            cursor: Mutex::default(),
        };
        // Nothing but what is named here: no VGA, floppy or CD for the guest to find and wait for.
        vm.add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        vm.add(&["-name", name]);
        board.machine.model.iter().for_each(|model| vm.add(&["-machine", model]));
        vm.add(&["-accel", accelerator.argument()]);
        let processor = match accelerator {
            Accelerator::Kvm => "host",
            // rdrand: without it the guest's random numbers wait for seconds, longer than a watchdog's fuse on a busy host.
            Accelerator::Emulation => "qemu64,+rdrand",
        };
        vm.add(&["-cpu", processor]);
        vm.add(&["-m", &format!("{}M", board.machine.memory_mib)]);
        vm.add(&["-smp", &board.machine.processors.to_string()]);
        vm.add(&["-qmp", &format!("unix:{},server=on,wait=off", vm.monitor.display())]);
        // signal: a byte 3 that is typed is the guest's.
        vm.add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
        if let Some(watchdog) = &board.watchdog {
            watchdog.device.iter().for_each(|device| vm.add(&["-device", device]));
            watchdog.action.iter().for_each(|action| vm.add(&["-action", &format!("watchdog={action}")]));
        }
        vm
    }

    /// Adds words to QEMU's command line.
    pub fn add(&mut self, arguments: &[&str]) {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
    }

    /// Adds the node's network card, plugged into the switch.
    pub fn add_switched_nic(&mut self, board: &Board, node: u8, run: &RunDir) {
        let (nic, port) = switch::socket_paths(run, node);
        let backend = format!(
            "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            nic.display(),
            port.display()
        );
        self.add(&["-netdev", &backend]);
        if let Some(device) = &board.network.device {
            self.add(&["-device", &format!("{device},netdev=wire,id=nic,mac={}", switch::mac(node))]);
        }
    }

    /// Adds a second serial port, ttyS1 in the guest, which ends in a socket.
    pub fn add_line(&mut self, socket: &Path) {
        self.add(&["-chardev", &format!("socket,id=line,path={},server=on,wait=off", socket.display())]);
        self.add(&["-serial", "chardev:line"]);
    }

    /// Starts QEMU. Call it from a thread that lives as long as the VM shall: see [`Process`].
    pub fn boot(&self) -> Result<()> {
        let mut process = lock(&self.process);
        if process.is_some() {
            bail!("{} is on already", self.name);
        }
        *lock(&self.cursor) = self.console.length();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(&self.arguments);
        let (input, output) = self.console.open()?;
        *process = Some(Process::start_with(&self.name, &command, &self.log, input.into(), output.into())?);
        Ok(())
    }

    /// Kills QEMU, as if the power had failed.
    pub fn kill(&self) {
        *lock(&self.qmp) = None;
        *lock(&self.process) = None;
    }

    /// Executes a command of QEMU's monitor.
    pub fn qmp(&self, command: &str, arguments: Value) -> Result<Value> {
        self.check_on()?;
        let mut qmp = lock(&self.qmp);
        if qmp.is_none() {
            let connected = wait::until("QEMU's monitor", MONITOR_WITHIN, || {
                self.check_on()?;
                Ok(Qmp::connect(&self.monitor).ok())
            })?;
            *qmp = Some(connected);
        }
        let connection = qmp.as_mut().context("connected above")?;
        let answer = connection.execute(command, arguments);
        if answer.is_err() {
            // What is left of a broken exchange must not answer the next command.
            *qmp = None;
        }
        answer.with_context(|| format!("monitor of {}", self.name))
    }

    /// Stops the virtual processors. QEMU waits for I/O it has sent already, so none is under way afterwards.
    pub fn pause(&self) -> Result<()> {
        self.qmp("stop", Value::Null).map(drop)
    }

    /// Lets the virtual processors go on where they were.
    pub fn resume(&self) -> Result<()> {
        self.qmp("cont", Value::Null).map(drop)
    }

    /// Stops QEMU itself, as a host that hangs would: what the guest has handed over and QEMU has not sent stays where it
    /// is, and is sent after [`Vm::thaw`]. Harder than [`Vm::pause`]; the monitor does not answer meanwhile.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets QEMU go on after [`Vm::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        match lock(&self.process).as_ref() {
            Some(process) => process.signal(name),
            None => bail!("{} is off", self.name),
        }
    }

    /// Plugs the network cable in or out.
    pub fn set_link(&self, up: bool) -> Result<()> {
        self.qmp("set_link", json!({ "name": "nic", "up": up })).map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<()> {
        self.qmp("system_reset", Value::Null).map(drop)
    }

    /// The console of the VM.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Waits for text on the console after what the last wait found, and returns what came up to it.
    pub fn wait_console(&self, pattern: &str, deadline: Duration) -> Result<String> {
        let what = format!("`{pattern}` on the console of {}", self.name);
        let mut cursor = lock(&self.cursor);
        let found = wait::until(&what, deadline, || {
            let said = self.console.since(*cursor)?;
            if let Some(end) = console::find_end(&said, pattern) {
                *cursor += end as u64;
                return Ok(Some(console::text(&said[..end])));
            }
            // Looked at afterwards: the last words of a VM that has ended still count.
            self.check_on()?;
            Ok(None)
        });
        found.with_context(|| format!("the console of {} ends:\n{}", self.name, self.console.tail(15)))
    }

    /// Types a line on the console and returns what came up to `end`.
    pub fn ask(&self, line: &str, end: &str, deadline: Duration) -> Result<String> {
        self.check_on()?;
        *lock(&self.cursor) = self.console.length();
        self.console.type_line(line)?;
        self.wait_console(end, deadline).with_context(|| format!("{} was asked `{line}`", self.name))
    }

    fn check_on(&self) -> Result<()> {
        match lock(&self.process).as_mut() {
            Some(process) => process.check_alive(),
            None => bail!("{} is off", self.name),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}
