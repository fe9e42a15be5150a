"""The file README: what the files here are for. It tells what is there and nothing else."""

__all__ = ["README"]

README = """\
tracing mini-HOWTO:

# echo 0 > tracing_on : quick way to disable tracing
# echo 1 > tracing_on : quick way to re-enable tracing

 Important files:
  trace\t\t\t- The contents of the buffer; echo > trace clears it
  trace_pipe\t\t- A consuming read of the buffer; waits for more
  per_cpu/cpuN/\t\t- The same for one CPU, and stats
  current_tracer\t- The tracer: nop, events only
  available_tracers\t- The list of tracers
  error_log\t- What was wrong with the last commands
  buffer_size_kb\t- Size of the buffer of each CPU
  buffer_total_size_kb  - Size of all of them

  trace_clock\t\t- The clock that events are ordered by
       local, global, perf, mono:   CLOCK_MONOTONIC
      counter:   Not a clock, but just an increment
       uptime:   Hundredths of a second

  trace_marker\t\t- Writes into this file write into the buffer
  trace_marker_raw\t- Writes into this file write binary data into the buffer
  tracing_cpumask\t- The CPUs to trace
  trace_options\t- Set format or modify how tracing happens
\t\t\t  Disable an option by prefixing 'no' to its name
  saved_cmdlines_size\t- How many thread names to keep

  available_filter_functions - The functions that a probe can be set on
  dynamic_events\t- Create/append/remove/show the generic dynamic events
\t\t\t  Write into this file to define/undefine new trace events.
  kprobe_events\t\t- Create/append/remove/show the kernel dynamic events
\t\t\t  Write into this file to define/undefine new trace events.
\t  accepts: event-definitions (one definition per line)
\t   Format: p[:[<group>/][<event>]] <place> [<args>]
\t           r[maxactive][:[<group>/][<event>]] <place> [<args>]
\t           -:[<group>/][<event>]
\t    place: [<module>:]<symbol>[+<offset>]|<memaddr>
place (kretprobe): [<module>:]<symbol>[+<offset>]%return|<memaddr>
\t     args: <name>=fetcharg[:type]
\t fetcharg: %<register>, @<address>, @<symbol>[+|-<offset>],
\t           $stack<index>, $stack, $retval, $comm, $arg<N>,
\t           +|-[u]<offset>(<fetcharg>), \\imm-value, \\"imm-string"
\t     type: s8/16/32/64, u8/16/32/64, x8/16/32/64, string, symbol,
\t           b<bit-width>@<bit-offset>/<container-size>, ustring,
\t           symstr, <type>\\[<array-size>\\]
  events/\t\t- Directory containing all trace event subsystems:
      enable\t\t- Write 0/1 to enable/disable tracing of all events
  events/<system>/\t- Directory containing all trace events for <system>:
      enable\t\t- Write 0/1 to enable/disable tracing of all <system>
\t\t\t  events
      filter\t\t- If set, only events passing filter are traced
  events/<system>/<event>/\t- Directory containing control files for
\t\t\t  <event>:
      enable\t\t- Write 0/1 to enable/disable tracing of <event>
      filter\t\t- If set, only events passing filter are traced
      trigger\t\t- If set, a command to perform when event is hit
\t    Format: <trigger>[:count][if <filter>]
\t   trigger: traceon, traceoff
\t            enable_event:<system>:<event>
\t            disable_event:<system>:<event>
\t            bpf:<pinned program>, which drops the hit by returning 0
\t   To remove a trigger:
\t     echo '!<trigger>' > <system>/<event>/trigger
      format\t\t- The fields of a record of <event>
"""
