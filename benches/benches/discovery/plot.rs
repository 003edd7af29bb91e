//! Lines over axes, as SVG.

use std::fmt::Write;

pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
    pub(crate) dashed: bool,
    pub(crate) values: Vec<(f64, f64)>,
}

/// A picture with the panels beside each other; both axes of each begin at zero.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let mut out = String::new();
    let width = panels.len() as f64 * PANEL_WIDTH;
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {PANEL_HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{PANEL_HEIGHT}\" fill=\"#ffffff\"/>"
    );
    for (place, panel) in panels.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", place as f64 * PANEL_WIDTH);
        draw(panel, &mut out);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(panel: &Panel, out: &mut String) {
    let all = || panel.lines.iter().flat_map(|line| &line.values);
    let x_step = step(all().map(|(x, _)| *x).fold(0.0, f64::max));
    let y_step = step(all().map(|(_, y)| *y).fold(0.0, f64::max));
    let x_max = (all().map(|(x, _)| *x).fold(0.0, f64::max) / x_step).ceil() * x_step;
    let y_max = (all().map(|(_, y)| *y).fold(0.0, f64::max) / y_step).ceil() * y_step;
    let left = |x: f64| LEFT + x / x_max * (PANEL_WIDTH - LEFT - RIGHT);
    let top = |y: f64| PANEL_HEIGHT - BOTTOM - y / y_max * (PANEL_HEIGHT - BOTTOM - TOP);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"bold\">{}</text>", panel.title);
    for n in 0..=(y_max / y_step).round() as u32 {
        let (y, value) = (top(f64::from(n) * y_step), f64::from(n) * y_step);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            left(x_max),
            LEFT - 6.0,
            y + 4.0
        );
    }
    for n in 0..=(x_max / x_step).round() as u32 {
        let (x, value) = (left(f64::from(n) * x_step), f64::from(n) * x_step);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
            PANEL_HEIGHT - BOTTOM + 18.0
        );
    }
    for (place, line) in panel.lines.iter().enumerate() {
        let points: Vec<String> =
            line.values.iter().map(|(x, y)| format!("{:.1},{:.1}", left(*x), top(*y))).collect();
        let dashes = if line.dashed { " stroke-dasharray=\"4 4\"" } else { "" };
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dashes} points=\"{}\"/>",
            line.color,
            points.join(" ")
        );
        let (x, y) = (LEFT + 12.0 + place as f64 * LEGEND_WIDTH, PANEL_HEIGHT - 12.0);
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{}\" stroke-width=\"2\"{dashes}/>\
             <text x=\"{:.1}\" y=\"{y}\" font-size=\"9\">{}</text>",
            x + 14.0,
            y - 4.0,
            y - 4.0,
            line.color,
            x + 18.0,
            line.name
        );
    }
}

/// A round number of which four to ten make up the greatest value.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most.max(1e-9) / 4.0).log10().floor());
    let within = [1.0, 2.0, 2.5, 5.0].into_iter().rev().find(|factor| factor * power * 4.0 <= most);
    power * within.unwrap_or(1.0)
}

const PANEL_WIDTH: f64 = 640.0;
const PANEL_HEIGHT: f64 = 400.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 60.0;
const LEGEND_WIDTH: f64 = 112.0;
