"""Lists of words that scrubbing looks for: surnames, street names' endings, provinces on number plates."""

from __future__ import annotations

from typing import Final

__all__ = ["NOBODY", "PROVINCES", "STREETS", "SURNAMES", "TITLES"]

SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴"
    "夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文华陶左路詹曲祝单"
    "涂甘齐申毕符辛管柴简翟葛莫鲁施严洪殷安颜倪牛温芦庞兰聂樊岳骆耿关焦章裴欧卫纪童沙游向柳褚庄張劉陳楊趙黃吳孫馬"
    "羅鄭謝韓馮許蕭"
)
"""Common Chinese surnames of one character, some in traditional writing too."""

_STREETS: Final = (
    "Alley Avenue Ave Bend Bluff Boulevard Blvd Branch Bridge Brook Burg Bypass Camp Canyon Cape Causeway Center "
    "Centre Circle Cir Cliff Close Club Common Corner Course Court Ct Cove Creek Crescent Crest Crossing "
    "Crossroad Curve Dale Dam Divide Drive Dr Estate Expressway Extension Fall Ferry Field Flat Ford Forest "
    "Forge Fork Fort Freeway Garden Gateway Glen Green Grove Harbor Haven Heights Highway Hwy Hill Hollow Inlet "
    "Island Isle Junction Key Knoll Lake Landing Lane Ln Light Loaf Lock Locks Lodge Loop Mall Manor Meadow Mews "
    "Mill Mission Motorway Mount Mountain Neck Orchard Oval Overpass Park Parkway Pkwy Passage Path Pike Pine "
    "Place Pl Plain Plaza Point Port Prairie Radial Ramp Ranch Rapid Ridge River Road Rd Route Row Run Shoal "
    "Shore Skyway Spring Spur Square Sq Station Stravenue Stream Street St Summit Terrace Throughway Trace Track "
    "Trafficway Trail Tunnel Turnpike Underpass Union Unions Valley Viaduct View Village Ville Vista Walk Wall "
    "Way Well Rest"
)
STREETS: Final = tuple(_STREETS.split())
"""Words that end the name of a street (USPS Publication 28, appendix C1, and British ones)."""

_NOBODY: Final = "Customer Sir Madam Team All Support Friend Sales Service Manager The Not Very Just Happy Sorry"
NOBODY: Final = tuple(_NOBODY.split())
"""Words that stand where a name may stand."""

TITLES: Final = ("Mrs", "Mr", "Miss", "Ms", "Dr", "Prof")
"""English words before a name."""

PROVINCES: Final = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
"""First signs of a number plate (GA 36)."""
