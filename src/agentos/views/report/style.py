"""The report's one style sheet. It is inside the page, so that the page needs nothing else.

Rule 1: every colour is a variable with a light and a dark value; text on its ground has a contrast of 4.5 or more.
"""

SHEET = """
:root {
  color-scheme: light dark;
  --ground: #f7f6f3; --card: #ffffff; --ink: #1b1e23; --soft: #5a616b; --line: #e2dfd8; --faint: #f0eee9;
  --good: #17713f; --bad: #b3261e; --doubtful: #8a5a00; --good-ground: #e3f3e9; --bad-ground: #fbe6e4;
  --doubtful-ground: #fbf0d9; --plain-ground: #eceae5;
  --model: #5552cf; --tool: #0b7c80; --check: #b4500f; --forge: #6d7480; --life: #e4e1f4; --life-kernel: #eae7e1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #101214; --card: #181b1e; --ink: #e9e7e4; --soft: #a3a9b1; --line: #2d3237; --faint: #1f2327;
    --good: #56c98f; --bad: #ff8a80; --doubtful: #e6b450; --good-ground: #14301f; --bad-ground: #3a1a18;
    --doubtful-ground: #33280f; --plain-ground: #24282c;
    --model: #a19eff; --tool: #45c4c6; --check: #f2935c; --forge: #98a0aa; --life: #2a2945; --life-kernel: #272b2f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
code, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; }
code { overflow-wrap: anywhere; }
h1 { font-size: 27px; line-height: 1.25; margin: 10px 0 4px; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 12px; font-weight: 650; }
h3 { font-size: 14px; margin: 22px 0 8px; font-weight: 650; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.good { color: var(--good); } .bad { color: var(--bad); } .doubtful { color: var(--doubtful); }
.badge {
  display: inline-block; padding: 3px 12px; border-radius: 999px; font-weight: 700; font-size: 13px;
  letter-spacing: .08em; background: var(--plain-ground);
}
.badge.good { background: var(--good-ground); } .badge.bad { background: var(--bad-ground); }
.badge.doubtful { background: var(--doubtful-ground); }
.tag { font-size: 12px; padding: 1px 8px; letter-spacing: .02em; font-weight: 600; white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; }
.hero { display: grid; gap: 18px; padding: 24px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 18px; }
.figure b { display: block; font-size: 19px; font-weight: 650; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figure span { color: var(--soft); font-size: 13px; }
.meter { height: 6px; border-radius: 3px; background: var(--plain-ground); margin-top: 6px; overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--model); }
.warning {
  border-left: 4px solid var(--doubtful); background: var(--doubtful-ground); color: var(--ink);
  padding: 8px 14px; border-radius: 0 8px 8px 0;
}
.answers { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 14px; }
.answers h3 { margin: 0 0 6px; }
.answers ul { margin: 8px 0 0; padding-left: 18px; }
.answers li { margin: 2px 0; overflow-wrap: anywhere; }
.answers .wide { grid-column: 1 / -1; }
.columns { columns: 2 380px; column-gap: 32px; }
details summary { cursor: pointer; color: var(--soft); font-size: 13px; margin-top: 8px; }
details[open] summary { margin-bottom: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; white-space: nowrap; }
th, td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.total td { font-weight: 650; border-top: 2px solid var(--line); }
th[scope="row"] { color: var(--ink); font-size: 14px; font-weight: 500; width: 190px; }
pre {
  margin: 8px 0 0; padding: 12px 14px; background: var(--faint); border-radius: 8px; font-size: 13px;
  overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere;
}
ol.log { list-style: none; margin: 0; padding: 0; font-size: 13.5px; }
ol.log li { display: grid; grid-template-columns: 104px 150px 1fr; gap: 12px; padding: 4px 0; border-bottom: 1px solid var(--faint); }
ol.log li > :first-child { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ol.log li > * { overflow-wrap: anywhere; min-width: 0; }
.tree { margin: 0; padding: 0; list-style: none; }
.tree li { padding: 3px 0; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--soft); }
svg .label { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .lane { fill: var(--ink); font-size: 12px; }
svg .mark { stroke: var(--line); stroke-width: 1; }
svg .mark.good { stroke: var(--good); } svg .mark.bad { stroke: var(--bad); } svg .mark.doubtful { stroke: var(--doubtful); }
svg text.good { fill: var(--good); } svg text.bad { fill: var(--bad); } svg text.doubtful { fill: var(--doubtful); }
svg .tick { stroke: var(--line); stroke-dasharray: 2 4; }
svg .life { fill: var(--life); } svg .life.kernel { fill: var(--life-kernel); }
svg .model { fill: var(--model); } svg .tool { fill: var(--tool); } svg .check { fill: var(--check); } svg .forge { fill: var(--forge); }
svg .failed { stroke: var(--bad); stroke-width: 2; }
svg .gap { fill: var(--card); }
.legend { display: flex; gap: 18px; flex-wrap: wrap; margin-top: 10px; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend .model { background: var(--model); } .legend .tool { background: var(--tool); }
.legend .check { background: var(--check); } .legend .forge { background: var(--forge); }
footer { margin-top: 40px; color: var(--soft); font-size: 13px; }
@media (max-width: 640px) { ol.log li { grid-template-columns: 84px 1fr; } ol.log li > :last-child { grid-column: 1 / -1; } }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""
