"""Texts with known identifiers in them, English and Chinese, and texts that only look so: made with Faker, seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faker import Faker
from stdnum import iban, luhn
from stdnum.cn import uscc

from features.datasets.sample_shop import chinese_id

__all__ = ["LOOKALIKES", "PLANTS", "Planted", "lookalikes", "planted"]


@dataclass(frozen=True)
class Planted:
    """A text, and where in it which kind was put."""

    text: str
    kind: str
    value: str


class Maker:
    """Values and the people's names behind them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.english, self.chinese = Faker("en_US"), Faker("zh_CN")
        self.english.seed_instance(seed)
        self.chinese.seed_instance(seed)

    def digits(self, count: int) -> str:
        return "".join(self.draw.choices("0123456789", k=count))

    def letters(self, count: int) -> str:
        return "".join(self.draw.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=count))

    def one(self, *choices: str) -> str:
        return self.draw.choice(choices)

    def email(self) -> str:
        return self.one(self.english.email(), self.english.company_email(), f"li.wei{self.digits(3)}@qq.com")

    def mobile(self) -> str:
        digits = f"1{self.one('3', '5', '7', '8', '9')}{self.digits(9)}"
        spaced = f"{digits[:3]}{self.one('-', ' ')}{digits[3:7]}{self.one('-', ' ')}{digits[7:]}"
        return self.one(digits, spaced, f"+86 {digits}", f"+86{digits}")

    def landline(self) -> str:
        return f"{self.one('010', '021', '0755', '0571')}-{self.one('2', '6', '8')}{self.digits(7)}"

    def phone_abroad(self) -> str:
        return self.one(f"+44 20 7946 0{self.digits(3)}", f"+49 30 2{self.digits(7)}", f"+1 415 555 0{self.digits(3)}")

    def phone_national(self) -> str:
        tail = f"{self.one('555', '621', '864')}", self.digits(4)
        return self.one(f"(415) {tail[0]}-{tail[1]}", f"212-{tail[0]}-{tail[1]}", f"650.{tail[0]}.{tail[1]}")

    def national_id(self) -> str:
        return chinese_id(self.draw, self.english.date_of_birth(minimum_age=18, maximum_age=90))

    def card(self) -> str:
        body = self.one("4", "51", "62", "6222")
        body += self.digits((18 if body == "6222" else 15) - len(body))
        digits = body + luhn.calc_check_digit(body)
        spaced = " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        return self.one(digits, spaced, spaced.replace(" ", "-"))

    def iban(self) -> str:
        country, letters, digits = self.draw.choice((("DE", 0, 18), ("FR", 0, 23), ("GB", 4, 14), ("NL", 4, 10)))
        body = self.letters(letters) + self.digits(digits)
        whole = country + iban.calc_check_digits(f"{country}00{body}") + body
        return self.one(whole, " ".join(whole[at : at + 4] for at in range(0, len(whole), 4)))

    def company(self) -> str:
        body = "91" + self.one("110105", "310000", "440300") + "MA" + self.digits(7)
        return body + uscc.calc_check_digit(body)

    def social_security(self) -> str:
        return f"{self.draw.randrange(100, 665)}-{self.draw.randrange(10, 99)}-{self.draw.randrange(1000, 9999)}"

    def plate(self) -> str:
        return self.one("京", "沪", "粤", "苏") + self.one("A", "B", "C") + self.one("", "·") + self.one(
            self.digits(5), f"{self.letters(1)}{self.digits(4)}", f"D{self.digits(5)}"
        )  # fmt: skip

    def day(self) -> str:
        born = self.english.date_of_birth()
        return self.one(
            f"{born:%Y-%m-%d}", f"{born.year}年{born.month}月{born.day}日", f"{born:%B} {born.day}, {born.year}"
        )

    def english_name(self) -> str:
        return f"{self.english.first_name()} {self.english.last_name()}"

    def english_address(self) -> str:
        return self.english.street_address()

    def chinese_address(self) -> str:
        city = self.one("北京市朝阳区", "广东省深圳市南山区", "上海市徐汇区", "浙江省杭州市西湖区")
        road = self.one("建国路", "科技大道", "人民街", "中山北路", "长安街")
        return f"{city}{road}{self.digits(2).lstrip('0') or '8'}号{self.one('', '3栋2单元501室', 'B座1201')}"


Make = Callable[[Maker], str]
PLANTS: dict[str, tuple[tuple[Make, tuple[str, ...]], ...]] = {
    "EMAIL": ((Maker.email, ("write to {} please", "邮箱{}，请尽快回复", "({})", "邮箱：{}。")),),
    "URL": ((lambda m: f"https://{m.english.user_name()}:s3cret@shop.example.org/x", ("see {} now", "地址 {} 谢谢")),),
    "PHONE": (
        (Maker.mobile, ("我的手机号{}，谢谢", "请打{}给我", "call {} after six", "电话：{}")),
        (Maker.landline, ("公司座机{}", "固话 {} 转前台", "office: {}")),
        (Maker.phone_abroad, ("reach me on {}.", "call {} or write", "国外电话{}")),
        (Maker.phone_national, ("my number is {}", "call {}, thanks")),
    ),
    "IP": ((lambda m: m.english.ipv4_public(), ("logged in from {} today", "来自{}的登录")),
           (lambda m: m.english.ipv6(), ("from {} again", "地址 {}"))),
    "NATIONAL_ID": ((Maker.national_id, ("身份证{}", "证件号码：{}，请核对", "my id is {}")),),
    "CARD": ((Maker.card, ("银行卡号{}", "charged {} twice", "卡号：{}，请退款")),),
    "IBAN": ((Maker.iban, ("pay to {}", "IBAN: {}.", "账户{}，谢谢")),),
    "USCC": ((Maker.company, ("税号{}", "公司代码：{}。", "invoice to {}")),),
    "SSN": ((Maker.social_security, ("SSN {}", "my social is {}, sorry")),),
    "PASSPORT": (
        (lambda m: f"E{m.digits(8)}", ("护照号{}", "护照：{}", "passport no. {}")),
        (lambda m: m.digits(9), ("passport number is {}", "Passport: {}")),
    ),
    "PLATE": ((Maker.plate, ("车牌{}", "我的车是{}，停在门口")),),
    "QQ": ((lambda m: f"{m.one('1', '3', '8')}{m.digits(8)}", ("QQ：{}", "加我qq {}", "QQ号{}")),),
    "WECHAT": ((lambda m: f"wx_{m.english.user_name()}"[:18], ("微信号：{}", "微信{}", "my WeChat is {}", "加vx {}")),),
    "BIRTH_DATE": ((Maker.day, ("born on {}", "出生日期：{}", "date of birth: {}", "生日{}")),),
    "NAME": (
        (Maker.english_name, ("my name is {}", "Dear Mr. {},", "Regards,\n{}", "Name: {}", "please ask Dr. {}")),
        (lambda m: m.chinese.name(), ("姓名：{}", "收件人{}，请放门口", "联系人是{}，电话稍后给", "我叫{}")),
    ),
    "ADDRESS": (
        (Maker.english_address, ("deliver to {}", "I live at {}, thanks")),
        (Maker.chinese_address, ("地址：{}", "请送到{}，谢谢", "住在{}")),
    ),
}  # fmt: skip
"""Kind -> makers of values and the templates they go into."""

LOOKALIKES: tuple[Callable[[Maker], str], ...] = (
    lambda m: f"order ORD-{m.digits(8)}-{m.digits(6)} is late",
    lambda m: f"订单号{m.one('2024', '2025')}{m.digits(4)}{m.digits(10)}还没到",
    lambda m: f"invoice {m.digits(10)} of {m.digits(2)}/{m.digits(2)}",
    lambda m: f"it cost ${m.digits(3)},{m.digits(3)}.{m.digits(2)} and I want {m.digits(2)} % back",
    lambda m: f"价格{m.digits(4)}.{m.digits(2)}元，买{m.digits(1)}送{m.digits(1)}",
    lambda m: f"arrived on 2025-0{m.one(*'123456789')}-1{m.one(*'012345678')} at 12:{m.digits(1)}5:30",
    lambda m: f"{m.one('2023', '2024')}年{m.one(*'123456789')}月{m.one(*'123456789')}日下单，隔天到货",
    lambda m: f"SKU {m.letters(2)}{m.digits(6)}-{m.letters(1)}{m.digits(2)} is out of stock",
    lambda m: f"货号{m.letters(1)}{m.digits(7)}缺货",
    lambda m: f"app version {m.digits(1)}.{m.digits(2)}.{m.digits(1)}.{m.digits(3)} crashes",
    lambda m: f"升级到v{m.digits(1)}.{m.digits(1)}.{m.digits(2)}以后打不开",
    lambda m: f"we are at 31.{m.digits(4)}, 121.{m.digits(4)}",
    lambda m: f"坐标39.{m.digits(6)},116.{m.digits(6)}",
    lambda m: f"tracking 1Z{m.letters(3)}{m.digits(11)}",
    lambda m: f"快递单号SF{m.digits(13)}",
    lambda m: f"barcode 69{m.digits(11)} doesn't scan",
    lambda m: f"Dear Customer Support, the {m.one('red', 'blue')} one broke",
    lambda m: "这条路很长，里面有三号柜台",
    lambda m: f"sizes 38-40-42 and {m.digits(2)} x {m.digits(2)} x {m.digits(2)} cm",
    lambda m: f"std::string at line {m.digits(4)}, error 0x{m.digits(6)}",
    lambda m: f"follow @shop_{m.digits(3)} and #sale{m.digits(4)}",
    lambda m: f"会员积分{m.digits(7)}分，等级{m.digits(1)}",
    lambda m: "The Street food market opens on Monday",
    lambda m: f"今天先生意不好，卖了{m.digits(3)}件",
    lambda m: f"ratio {m.digits(1)}:{m.digits(1)}:{m.digits(2)} and {m.digits(3)}-{m.digits(3)} pages",
)
"""What has no identifier in it."""


def planted(each: int, seed: int = 7) -> Iterator[Planted]:
    """`each` texts of every kind, makers and templates in turn."""
    maker = Maker(seed)
    for kind, sources in PLANTS.items():
        for at in range(each):
            make, templates = sources[at % len(sources)]
            value = make(maker)
            yield Planted(templates[at // len(sources) % len(templates)].format(value), kind, value)


def lookalikes(count: int, seed: int = 8) -> Iterator[str]:
    """Texts without identifiers, kinds in turn."""
    maker = Maker(seed)
    for at in range(count):
        yield LOOKALIKES[at % len(LOOKALIKES)](maker)
