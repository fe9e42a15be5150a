// Compiled by rustc 1.97 nightly (-Z build-std=core, target bpfel-unknown-none) with aya-ebpf 0.1,
// aya-log-ebpf 0.1 and bpf-linker 0.13 (-C link-arg=--btf), then llvm-strip -g.
#![no_std]
#![no_main]

use aya_ebpf::macros::{kprobe, kretprobe, map, raw_tracepoint, tracepoint, xdp};
use aya_ebpf::maps::{
    HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, PerfEventArray, ProgramArray, Queue, RingBuf,
};
use aya_ebpf::programs::{
    ProbeContext, RawTracePointContext, RetProbeContext, TracePointContext, XdpContext,
};
use aya_log_ebpf::info;

#[map]
static SYSCALL_LIST: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);
#[map(name = "COUNTERS")]
static PER_CPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(4, 0);
#[map]
static RECENT: LruHashMap<u32, [u64; 4]> = LruHashMap::with_max_entries(64, 0);
#[map]
static RING: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static EVENTS: PerfEventArray<u64> = PerfEventArray::new(0);
#[map]
static QUEUE: Queue<u32> = Queue::with_max_entries(16, 0);
#[map]
static SHARED: PerCpuHashMap<u32, u64> = PerCpuHashMap::pinned(16, 0);
#[map]
static JUMP: ProgramArray = ProgramArray::with_max_entries(4, 0);

#[no_mangle]
static STEP: u32 = 7;
#[no_mangle]
static mut TOTAL: u64 = 0;

#[kprobe(function = "dragonos_kernel::syscall::Syscall::handle")]
pub fn count(ctx: ProbeContext) -> u32 {
    add(&ctx).map_or_else(|error| error, |_| 0)
}

fn add(ctx: &ProbeContext) -> Result<(), u32> {
    let number = ctx.arg::<usize>(1).ok_or(1u32)? as u32;
    let seen = unsafe { SYSCALL_LIST.get(&number) }.copied().unwrap_or(0);
    SYSCALL_LIST.insert(&number, &(seen + 1), 0).map_err(|_| 2u32)?;
    if let Some(counter) = PER_CPU.get_ptr_mut(1) {
        unsafe { *counter += 1 };
    }
    unsafe { TOTAL += u64::from(core::ptr::read_volatile(&STEP)) };
    info!(ctx, "system call {}", number);
    Ok(())
}

#[kretprobe(function = "vfs_read")]
pub fn done(ctx: RetProbeContext) -> u32 {
    if let Some(mut entry) = RING.reserve::<i64>(0) {
        entry.write(ctx.ret().unwrap_or(-1));
        entry.submit(0);
    }
    0
}

#[tracepoint(category = "syscalls", name = "sys_enter_openat")]
pub fn opened(ctx: TracePointContext) -> u32 {
    EVENTS.output(&ctx, &7u64, 0);
    let _ = QUEUE.push(&1, 0);
    let _ = RECENT.insert(&1, &[1, 2, 3, 4], 0);
    let _ = unsafe { JUMP.tail_call(&ctx, 0) };
    0
}

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn raw(_ctx: RawTracePointContext) -> i32 {
    SHARED.insert(&1, &2, 0).map_or(1, |_| 0)
}

#[xdp]
pub fn filter(ctx: XdpContext) -> u32 {
    let (start, end) = (ctx.data(), ctx.data_end());
    if start + 14 > end {
        return 1;
    }
    let protocol = unsafe { core::ptr::read_unaligned((start + 12) as *const u16) };
    if protocol == 8 { 2 } else { 1 }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[no_mangle]
#[link_section = "license"]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
