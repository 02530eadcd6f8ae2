"""What columns are usually called, in English and Chinese, and what that says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, Literal

from privacy.classification import Sensitivity

__all__ = ["OF_TABLE", "SUBJECT", "Concept", "Shape", "concept_of", "plain"]

Shape = Literal["any", "number", "time", "id", "category", "kind", "purpose", "answer", "mark"]
"""What a column must look like beside its name: only a name that hides or drops a column is believed by itself."""
DIRECT: Final = Sensitivity.DIRECT_IDENTIFIER
QUASI: Final = Sensitivity.QUASI_IDENTIFIER
BEHAVIOUR: Final = Sensitivity.BEHAVIOURAL
THING: Final = Sensitivity.NON_PERSONAL


@dataclass(frozen=True)
class Concept:
    """A kind of column: what Custos calls it, how sensitive it is, and which names mean it.

    `names` is searched in the plain form of a name; `han` are words of Chinese names.
    """

    name: str
    sensitivity: Sensitivity
    shape: Shape
    names: str
    han: str = ""

    def means(self, name: str) -> bool:
        """Say whether a column of this name is one."""
        return bool(_pattern(self.names).search(plain(name)) or (self.han and re.search(self.han, name)))


_NUMBERED: Final = r"(_?(id|no|nr|num|number|key|code|ref))?$"
_SENSITIVE: Final = (
    r"(^|_)(health|diagnos\w*|disease|medical|medication|religio\w*|ethnic\w*|race|politic\w*|trade_union|sexual\w*"
    r"|biometric\w*|genetic\w*|disab\w*|criminal\w*|convict\w*)(_|$)"
)
CONCEPTS: Final = (
    Concept("sensitive_detail", Sensitivity.SENSITIVE, "any", _SENSITIVE, "健康|疾病|病史|宗教|民族|政治|残疾|犯罪"),
    Concept("email", DIRECT, "any", r"(^|_)e_?mails?(_|$)|(^|_)mail(_address)?$", "邮箱|电子邮件"),
    Concept("phone", DIRECT, "any", r"phone|(^|_)(mobile|cell|tel|fax|whatsapp)(_|$)", "手机|电话|联系方式"),
    Concept(
        "national_id",
        DIRECT,
        "any",
        r"national_?id|identity|id_?card|(^|_)ssn(_|$)|social_security|tax_?(id|number)|passport|driv\w*_licen",
        "身份证|证件|护照|驾照|社保",
    ),
    Concept("iban", DIRECT, "any", r"(^|_)iban(_|$)|bank_?account|account_?(no|number)$", "银行账|开户(?!时间|日期)"),
    Concept("card", DIRECT, "any", r"card_?(no|number|num)$|(credit|debit|bank)_?card|(^|_)pan$", "银行卡|信用卡|卡号"),
    Concept("address", DIRECT, "any", r"(^|_)(address|addr|street|house_n\w*)(_|$|[0-9])", "地址|住址|街道|门牌"),
    Concept("ip_address", DIRECT, "any", r"(^|_)ip(_addr\w*|v[46])?$", "IP地址"),
    Concept(
        "online_id",
        DIRECT,
        "any",
        r"wechat|weixin|open_?id|union_?id|(^|_)qq(_|$)|device_?id|cookie|imei|idfa|mac_addr|username|user_name|login",
        "微信|设备|用户名|账号",
    ),
    Concept("number_plate", DIRECT, "any", r"licen[cs]e_?plate|number_?plate|(^|_)plate(_|$)", "车牌"),
    Concept("birth_date", QUASI, "any", r"birth|(^|_)(dob|born)(_|$)", "生日|出生"),
    Concept("age", QUASI, "any", r"(^|_)age(_|$)", "年龄"),
    Concept("gender", QUASI, "any", r"(^|_)(gender|sex)(_|$)|salutation|(^|_)title$", "性别|称谓"),
    Concept("postal_code", QUASI, "any", r"(^|_)zip|post_?code|postal", "邮编|邮政编码"),
    Concept("city", QUASI, "any", r"(^|_)(city|town|village)(_|$)", "城市|市区"),
    Concept("region", QUASI, "any", r"(^|_)(province|state|region|county|district)(_|$)", "省份|省|区县|地区"),
    Concept("country", QUASI, "any", r"(^|_)(country|nationality)(_|$)", "国家|国籍"),
    Concept("occupation", QUASI, "any", r"occupation|profession|(^|_)(job|employer)(_|$)", "职业|单位"),
    Concept("education", QUASI, "any", r"education|degree|school", "学历|学校"),
    Concept("marital_status", QUASI, "any", r"marital|married", "婚姻|婚否"),
    Concept("income", QUASI, "any", r"(^|_)(income|salary|wage)(_|$)", "收入|薪"),
    Concept("household", QUASI, "any", r"household_(size|comp\w*)|kids|children|home_owner", "家庭|子女"),
    Concept(
        "name",
        DIRECT,
        "any",
        r"^(full|first|last|middle|given|family|customer|client|contact|nick|display|member)?_?names?$|surname|forename",
        "姓名|名字|昵称|联系人|收货人|收件人|客户名",
    ),
    Concept(
        "order_id",
        BEHAVIOUR,
        "id",
        rf"(^|_)(order|invoice|receipt|basket|transaction|ticket){_NUMBERED}",
        "订单(号|编号|ID)|单号|小票|交易号",
    ),
    Concept(
        "signed_up_at",
        BEHAVIOUR,
        "time",
        r"sign_?up|regist|joined|(^|_)since(_|$)",
        "注册|入会|加入|入网|开户(时间|日期)",
    ),
    Concept(
        "ordered_at",
        BEHAVIOUR,
        "time",
        r"^(order|ordered|transaction|purchase|purchased|invoice|sale|sold|created?|event)?_?"
        r"(date|time|timestamp|datetime|date_?time|at|on|ts)$",
        "(下单|订单|交易|购买|支付)?(时间|日期)",
    ),
    Concept("discount", BEHAVIOUR, "number", r"discount|rebate|(^|_)disc$", "折扣|优惠(?!券)"),
    Concept("coupon", BEHAVIOUR, "number", r"coupon|voucher", "优惠券|代金券"),
    Concept("quantity", BEHAVIOUR, "number", r"(^|_)(qty|quantity|units|pieces)(_|$)", "数量|件数"),
    Concept("price", BEHAVIOUR, "number", r"(^|_)(unit_?)?price(_|$)", "单价|价格"),
    Concept(
        "amount",
        BEHAVIOUR,
        "number",
        r"(^|_)(amount|total|revenue|sales|sales_?value|value)(_|$)|(^|_)(spend|net|gross|paid)(_|$)",
        "金额|实付|总价|总额|销售额",
    ),
    Concept(
        "product_id",
        THING,
        "id",
        rf"(^|_)(product|sku|item|stock|article|ean|upc|gtin){_NUMBERED}",
        "商品(编号|编码|ID|号)|货号|条码",
    ),
    Concept(
        "category",
        BEHAVIOUR,
        "category",
        r"(^|_)(category|department|class|brand|type|subcategory|manufacturer\w*)(_|$)",
        "分类|类别|品类|部门|品牌",
    ),
    Concept("channel", BEHAVIOUR, "category", r"(^|_)(channel|medium|device|platform)(_|$)", "渠道|平台"),
    Concept("store_id", BEHAVIOUR, "category", rf"(^|_)(store|shop|branch|outlet|till){_NUMBERED}", "门店|店铺|商店"),
    Concept("tier", BEHAVIOUR, "category", r"(^|_)(tier|level|segment|status)(_|$)", "等级|级别|分层"),
)
OF_TABLE: Final[Mapping[str, tuple[Concept, ...]]] = MappingProxyType(
    {
        "transactions": (
            Concept("returned", BEHAVIOUR, "mark", r"(^|_)(return(ed|s)?|refund(ed|s)?)$", "退货|退款|退订"),
        ),
        "interactions": (
            Concept(
                "happened_at",
                BEHAVIOUR,
                "time",
                r"(^|_)(contact(ed)?|call(ed)?|visit(ed)?|service|happened|click(ed)?)_?(date|time|timestamp|at|on|ts)$",
                "(联系|接触|来电|受理|办理|服务|互动|发生|访问)(时间|日期)",
            ),
            Concept("kind", BEHAVIOUR, "kind", r"(^|_)(kind|type)$", "类型|类别|种类"),
        ),
        "consents": (
            Concept("at", BEHAVIOUR, "time", r"(^|_)(date|time|timestamp|datetime|at|on|ts)$", "时间|日期"),
            Concept("purpose", THING, "purpose", r"(^|_)purposes?$", "用途|目的"),
            Concept(
                "granted", BEHAVIOUR, "answer", r"(^|_)(granted|consent(ed)?|opt(ed)?_?in|agreed|allowed)$", "同意|授权"
            ),
        ),
    }
)
"""What columns are called in one kind of table alone; what may name somebody is looked for first in any."""
SUBJECT: Final = Concept(
    "customer_id",
    DIRECT,
    "id",
    rf"^(customer|cust|client|member|user|household|account|buyer|shopper|person|loyalty)s?{_NUMBERED}",
    "^(客户|会员|用户|顾客|买家)(编号|编码|标识|号|ID|id|代码)?$",
)
"""The column that names the person: the first of a table whose name says so."""


def concept_of(name: str, role: str | None = None) -> Concept | None:
    """Return what a column's name says it is, in a table of this `role` or in any.

    >>> [found.name if found else None for found in map(concept_of, ("E-Mail", "手机号", "xyz", "UnitPrice"))]
    ['email', 'phone', None, 'price']
    """
    own = OF_TABLE.get(role or "", ())
    people = [concept for concept in CONCEPTS if concept.shape == "any"]
    return next((concept for concept in (SUBJECT, *people, *own, *CONCEPTS) if concept.means(name)), None)


def plain(name: str) -> str:
    """Return a name in lower case with `_` between its words.

    >>> plain("UnitPrice (EUR)"), plain("E-Mail")
    ('unit_price_eur', 'e_mail')
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
