//! When units came up: `sctl boot-chart` (an SVG picture), `sctl blame`, `sctl critical-chain`.
//!
//! A unit's *bar* has three parts: from its job being queued to its start (it waits for others), from
//! its start to being there, and from then on. It is there when it is up or, a oneshot, when it is
//! down again. The *critical path* leads from the default target back: each unit began when the one
//! before it was there, the last of those it comes after. Times are shown from the
//! manager's own start on; what came before it is the kernel's.

use crate::style::{Cell, Paint, span, table};
use crate::{Fault, Run, exit, json, unit_name};
use std::fmt::Write;
use units::collections::Map;
use units::state::{ActiveState, Micros};
use units::wire::control::{Reply, Request, UnitHistory};

/// A unit's bar.
pub struct Bar {
    /// The unit.
    pub unit: String,
    /// Its job was queued.
    pub asked: Micros,
    /// Its start began.
    pub began: Micros,
    /// It was there, or had failed; `None`: not yet.
    pub there: Option<Micros>,
    /// It has failed.
    pub failed: bool,
    /// It was there last of those this one comes after.
    pub before: String,
    /// It is on the critical path.
    pub critical: bool,
}

/// The bars of the boot, in the order in which they began.
pub struct Chart {
    /// Bars.
    pub bars: Vec<Bar>,
    /// When the manager began.
    pub started: Micros,
    /// When the default target was there, or now.
    pub end: Micros,
}

impl Bar {
    fn of(one: &UnitHistory) -> Option<Self> {
        let times = one.times;
        let began = times.inactive_exit;
        if began == 0 {
            return None;
        }
        let ends = [times.active_enter, times.inactive_enter];
        let asked = one.job.as_ref().map_or(began, |job| job.asked);
        Some(Self {
            unit: one.unit.clone(),
            asked: asked.min(began),
            began,
            there: ends.into_iter().filter(|at| *at >= began).min(),
            failed: one.active == ActiveState::Failed,
            before: one.before.clone(),
            critical: false,
        })
    }

    fn took(&self, now: Micros) -> Micros {
        self.there.unwrap_or(now).saturating_sub(self.began)
    }
}

/// Asks the manager; `to`: whose critical path is marked.
fn chart(run: &mut Run<'_, '_>, to: Option<&str>) -> Result<Chart, Fault> {
    let info = run.manager()?;
    let end = if info.finished > 0 {
        info.finished
    } else {
        info.now
    };
    let replies = run.client.ask(&Request::History { units: Vec::new() })?;
    let of = |reply| match reply {
        Reply::History(one) => Bar::of(&one),
        _ => None,
    };
    let mut bars: Vec<Bar> = replies.into_iter().filter_map(of).collect();
    // What was started after the boot is no part of it.
    bars.retain(|bar| bar.began <= end || to == Some(&bar.unit));
    bars.sort_by(|a, b| (a.began, a.there, &a.unit).cmp(&(b.began, b.there, &b.unit)));
    let last = bars.iter().filter(|bar| bar.unit.ends_with(".target"));
    let last = last.max_by_key(|bar| bar.there).map(|bar| bar.unit.clone());
    mark(
        &mut bars,
        to.map(str::to_owned).or(last).unwrap_or_default(),
    );
    Ok(Chart {
        bars,
        started: info.started,
        end,
    })
}

/// Marks the path that leads to this unit.
fn mark(bars: &mut [Bar], mut unit: String) {
    while let Some(bar) = bars
        .iter_mut()
        .find(|bar| bar.unit == unit && !bar.critical)
    {
        bar.critical = true;
        unit.clone_from(&bar.before);
    }
}

/// `blame`: what took long, the longest first.
pub fn blame(run: &mut Run<'_, '_>) -> Result<i32, Fault> {
    let mut chart = chart(run, None)?;
    chart
        .bars
        .sort_by_key(|bar| std::cmp::Reverse(bar.took(chart.end)));
    if run.options.json {
        run.print(&json::chart(&chart));
        return Ok(exit::OK);
    }
    let shown = |bar: &&Bar| bar.took(chart.end) > 0 && !bar.unit.ends_with(".target");
    let mut rows = Vec::new();
    for bar in chart.bars.iter().filter(shown) {
        let took = span(bar.took(chart.end));
        let note = match (bar.there, bar.failed) {
            (None, _) => "under way",
            (_, true) => "failed",
            _ => "",
        };
        rows.push(vec![
            Cell::painted(
                if bar.critical {
                    Paint::Busy
                } else {
                    Paint::Plain
                },
                format!("{took:>9}"),
            ),
            Cell::plain(&*bar.unit),
            Cell::painted(Paint::Bad, note),
        ]);
    }
    let text = table(&run.screen.style, None, &rows);
    run.print(&text);
    Ok(exit::OK)
}

/// `critical-chain`: what a unit had to wait for, step by step.
pub fn critical_chain(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let unit = words.first().map(|word| unit_name(word)).transpose()?;
    let mut chart = chart(run, unit.as_deref())?;
    chart.bars.retain(|bar| bar.critical);
    if run.options.json {
        run.print(&json::chart(&chart));
        return Ok(exit::OK);
    }
    if chart.bars.is_empty() {
        let unit = unit.unwrap_or_else(|| "a target".to_owned());
        return Err(Fault::failed(format!(
            "{unit} was not started in this boot"
        )));
    }
    let style = run.screen.style;
    let [_, last, _, gap] = style.branches();
    let mut out = String::new();
    for (depth, bar) in chart.bars.iter().rev().enumerate() {
        let took = bar.took(chart.end);
        let mut name = bar.unit.clone();
        if depth > 0 {
            name = [&gap.repeat(depth - 1), last, &name].concat();
        }
        let at = bar.there.unwrap_or(chart.end);
        let at = span(at.saturating_sub(chart.started));
        let took = match took {
            0 => String::new(),
            took => style.paint(Paint::Busy, &[" +", &span(took)].concat()),
        };
        let _ = writeln!(
            out,
            "{name} {}{took}",
            style.paint(Paint::Dim, &["@", &at].concat())
        );
    }
    run.print(&out);
    Ok(exit::OK)
}

/// `boot-chart`: the picture, to standard output or into a file.
pub fn boot_chart(run: &mut Run<'_, '_>, words: &[String]) -> Result<i32, Fault> {
    let chart = chart(run, None)?;
    if run.options.json {
        run.print(&json::chart(&chart));
        return Ok(exit::OK);
    }
    let picture = draw(&chart, &run.screen.host);
    match words.first() {
        None => run.print(&picture),
        Some(path) => std::fs::write(path, picture)
            .map_err(|error| Fault::failed(format!("cannot write {path}: {error}")))?,
    }
    Ok(exit::OK)
}

/// Height of a row, width of the names, of the plot, and of the margins, in pixels.
const ROW: u64 = 18;
const NAMES: u64 = 240;
const PLOT: u64 = 840;
const EDGE: u64 = 20;
/// Where the rows begin.
const TOP: u64 = 92;

const STYLE: &str = "\
<style>text{font:12px system-ui,sans-serif;fill:#24292f}.h{font-size:17px;font-weight:600}\
.s,.t{fill:#57606a}.t{font-size:10px;text-anchor:middle}.n{text-anchor:end}\
.c{font-weight:600;fill:#9a3412}.d{font-size:10px;fill:#57606a}\
.g{stroke:#d8dee4}.e{stroke:#57606a;stroke-dasharray:3 3}.r{fill:#f6f8fa}\
.w{fill:#d0d7de}.b{fill:#3b82c4}.u{fill:#cfe3f5}.k{fill:#e8833a}.f{fill:#cf222e}\
.p{stroke:#e8833a;stroke-width:1.5;fill:none}</style>\n";

/// The scale of the picture: from when on, and how much fits.
struct Scale {
    from: Micros,
    to: Micros,
}

impl Scale {
    fn x(&self, at: Micros) -> u64 {
        let at = at.clamp(self.from, self.to) - self.from;
        EDGE + NAMES + at * PLOT / (self.to - self.from).max(1)
    }

    /// Distance of the lines: 1, 2 or 5 times a power of ten, some ten of them.
    fn step(&self) -> Micros {
        let least = ((self.to - self.from) / 12).max(1);
        let mut power = 1;
        loop {
            if let Some(step) = [1, 2, 5]
                .map(|n| n * power)
                .into_iter()
                .find(|step| *step >= least)
            {
                return step;
            }
            power *= 10;
        }
    }
}

/// The picture.
fn draw(chart: &Chart, host: &str) -> String {
    let rows = chart.bars.len() as u64;
    let from = chart
        .bars
        .iter()
        .map(|bar| bar.asked)
        .chain([chart.started])
        .min()
        .unwrap_or(0);
    let ends = chart.bars.iter().filter_map(|bar| bar.there);
    let to = ends
        .chain([chart.end])
        .max()
        .unwrap_or(from)
        .max(from + 1000);
    let scale = Scale {
        from,
        to: to + (to - from) / 20,
    };
    let (width, bottom) = (EDGE + NAMES + PLOT + EDGE, TOP + rows * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{0}\" viewBox=\"0 0 {width} {0}\">\n\
         {STYLE}<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        bottom + 44
    );
    heading(chart, host, &mut svg);
    grid(chart, &scale, bottom, &mut svg);
    let places: Map<&str, u64> = chart
        .bars
        .iter()
        .map(|bar| bar.unit.as_str())
        .zip(0..)
        .collect();
    for (row, bar) in (0..).zip(&chart.bars) {
        draw_bar(bar, row, &scale, chart.end, &mut svg);
    }
    for (row, bar) in (0..).zip(&chart.bars).filter(|(_, bar)| bar.critical) {
        let before = places
            .get(bar.before.as_str())
            .filter(|_| !bar.before.is_empty());
        if let Some(before) = before {
            let (x, from, to) = (scale.x(bar.began), middle(*before), middle(row));
            let _ = writeln!(svg, "<path class=\"p\" d=\"M{x} {from}V{to}\"/>");
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn middle(row: u64) -> u64 {
    TOP + row * ROW + ROW / 2
}

fn heading(chart: &Chart, host: &str, svg: &mut String) {
    let failed = chart.bars.iter().filter(|bar| bar.failed).count();
    let took = span(chart.end.saturating_sub(chart.started));
    let (host, count) = (escape(host), chart.bars.len());
    let _ = writeln!(
        svg,
        "<text class=\"h\" x=\"{EDGE}\" y=\"30\">Boot of {host}: {took}</text>\n\
         <text class=\"s\" x=\"{EDGE}\" y=\"50\">{count} units, {failed} failed; the manager began {} after the kernel</text>",
        span(chart.started)
    );
    let mut x = EDGE + NAMES + PLOT - 445;
    for (class, text) in [
        ("w", "waits"),
        ("b", "starts"),
        ("k", "on the critical path"),
        ("u", "is up"),
        ("f", "failed"),
    ] {
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{x}\" y=\"41\" width=\"12\" height=\"10\" rx=\"2\"/><text class=\"s\" x=\"{}\" y=\"50\">{text}</text>",
            x + 17
        );
        x += 30 + text.len() as u64 * 7;
    }
}

fn grid(chart: &Chart, scale: &Scale, bottom: u64, svg: &mut String) {
    for row in (0..chart.bars.len() as u64).step_by(2) {
        let _ = writeln!(
            svg,
            "<rect class=\"r\" x=\"{EDGE}\" y=\"{}\" width=\"{}\" height=\"{ROW}\"/>",
            TOP + row * ROW,
            NAMES + PLOT
        );
    }
    let step = scale.step();
    let mut at = 0;
    while scale.from + at <= scale.to {
        let x = scale.x(scale.from + at);
        let text = ticks(at, step);
        let _ = writeln!(
            svg,
            "<path class=\"g\" d=\"M{x} {TOP}V{bottom}\"/><text class=\"t\" x=\"{x}\" y=\"{}\">{text}</text>",
            TOP - 6
        );
        at += step;
    }
    let x = scale.x(chart.end);
    let _ = writeln!(
        svg,
        "<path class=\"e\" d=\"M{x} {TOP}V{0}\"/><text class=\"t\" x=\"{x}\" y=\"{1}\">default target</text>",
        bottom + 6,
        bottom + 18
    );
}

/// A time on the axis, as exact as its step: `350 ms`, `1.2 s`, `14 s`.
fn ticks(at: Micros, step: Micros) -> String {
    if step >= 1_000_000 {
        format!("{} s", at / 1_000_000)
    } else if step >= 100_000 {
        format!("{}.{} s", at / 1_000_000, at / 100_000 % 10)
    } else if step >= 1000 {
        format!("{} ms", at / 1000)
    } else {
        format!("{}.{:03} ms", at / 1000, at % 1000)
    }
}

fn draw_bar(bar: &Bar, row: u64, scale: &Scale, now: Micros, svg: &mut String) {
    let y = TOP + row * ROW;
    let there = bar.there.unwrap_or(now);
    let mut part = |class: &str, from: Micros, to: Micros, thin: u64, least: u64| {
        let (x, end) = (scale.x(from), scale.x(to));
        let wide = (end - x.min(end)).max(least);
        if wide > 0 {
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"{}\" rx=\"2\"/>",
                y + 3 + thin,
                ROW - 6 - 2 * thin
            );
        }
    };
    part("w", bar.asked, bar.began, 4, 0);
    if !bar.failed && bar.there.is_some() {
        part("u", there, scale.to, 4, 0);
    }
    let class = match (bar.failed, bar.critical) {
        (true, _) => "f",
        (_, true) => "k",
        _ => "b",
    };
    part(class, bar.began, there, 0, 3);
    let name = escape(&bar.unit);
    let class = if bar.critical { "n c" } else { "n" };
    let (right, base) = (EDGE + NAMES - 8, y + 13);
    let took = match bar.took(now) {
        0 => String::new(),
        took => span(took),
    };
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{right}\" y=\"{base}\">{name}</text><text class=\"d\" x=\"{}\" y=\"{base}\">{took}</text>",
        scale.x(there).max(scale.x(bar.began) + 3) + 5
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
