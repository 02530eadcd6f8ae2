"""How the quality page looks: dark on light, and as a list of cells where a window is too narrow for its tables."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root{color-scheme:light;--back:#fff;--text:#1b1f24;--soft:#4b545e;--rule:#d0d7de;--curve:#0b5cad;--warn:#9a4b00;
--stop:#b3202a}
*{box-sizing:border-box}
body{background:var(--back);color:var(--text);font:16px/1.5 system-ui,"Noto Sans CJK SC","PingFang SC",
"Microsoft YaHei",sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.2rem 0 .2rem}p,dd{margin:.2rem 0}
.soft,dd,summary{color:var(--soft)}.breach{border-left:4px solid var(--warn);padding-left:.7rem}
.breach.stop{border-color:var(--stop)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:1.2rem 1.6rem;
margin:1rem 0}
figure{margin:0}figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;font-size:.95rem}
figcaption strong{margin-left:auto}
figure .soft{font-size:.85rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font-size:11px}
.grid{stroke:var(--rule)}.curve{fill:none;stroke:var(--curve);stroke-width:1.6}.dot,.fill{fill:var(--curve)}
.track{fill:none;stroke:var(--soft)}.asked{stroke:var(--text);stroke-width:2}
.dashed{stroke-width:1;stroke-dasharray:4 3}
path.warn,.fill.warn{fill:var(--warn)}.fill.stop{fill:var(--stop)}
path.stop{stroke:var(--stop);stroke-width:2.4;fill:none}
details{margin:.5rem 0}summary{cursor:pointer}
table{border-collapse:collapse;font-size:.88rem;margin:.5rem 0}
th,td{padding:.25rem .55rem;border-bottom:1px solid var(--rule);text-align:right;font-variant-numeric:tabular-nums}
thead th,td{white-space:nowrap}th[scope=row]{overflow-wrap:anywhere}
th:first-child{text-align:left;padding-left:0}dt{font-weight:600;margin-top:.5rem}
@media (max-width:64rem){
table,tbody,tr,th[scope=row],td{display:block}table{width:100%}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tr{border-bottom:1px solid var(--rule);padding:.4rem 0}th,td{border:0;padding:.1rem 0}
td{display:flex;justify-content:space-between;gap:1rem;max-width:24rem}
td::before{content:attr(data-head);color:var(--soft)}td.none{display:none}
}
"""
