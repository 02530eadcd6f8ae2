"""A small made-up telecom shop as Chinese text files: orders in two parts, people, service contacts, consents."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pandas as pd
from faker import Faker

from features.datasets.sample_shop import chinese_id

PEOPLE = 40


def write_telecom_shop(folder: Path, people: int = PEOPLE) -> dict[str, pd.DataFrame]:
    """Write the files in UTF-8; return them, values as texts, by name."""
    draw, fake = random.Random(7), Faker("zh_CN")
    fake.seed_instance(7)
    ids = [f"KH{number:05d}" for number in range(1, people + 1)]
    born = [dt.date(1955, 1, 1) + dt.timedelta(days=draw.randrange(16_000)) for _ in ids]
    customers = {
        "客户编号": ids,
        "姓名": [fake.name() for _ in ids],
        "手机号": [f"138{draw.randrange(10**8):08d}" for _ in ids],
        "身份证号": [chinese_id(draw, day) for day in born],
        "微信号": [f"wx_{fake.user_name()}" for _ in ids],
        "地址": [fake.address().split(" ")[0] for _ in ids],
        "性别": [draw.choice("男女") for _ in ids],
        "套餐等级": [draw.choice(["青春", "畅享"]) for _ in ids],
    }
    orders = [
        {
            "订单号": f"DD{at:06d}",
            "客户编号": draw.choice(ids),
            "下单时间": (dt.datetime(2024, 1, 1, 9, tzinfo=dt.UTC) + dt.timedelta(hours=11 * at)).strftime(
                "%Y-%m-%d %H:%M"
            ),
            "金额": f"{draw.uniform(20, 200):.2f}",
            "退货": "是" if at % 25 == 24 else "否",
        }
        for at in range(people * 20)
    ]
    contacts = [
        {
            "客户编号": draw.choice(ids),
            "联系时间": f"2024-{1 + at % 9:02d}-11 10:00:00",
            "联系类型": "service",
            "渠道": "热线",
        }
        for at in range(people * 2)
    ]
    consents = [
        {"客户编号": who, "用途": "marketing", "同意": "true", "时间": "2024-02-01 08:00:00", "经办人": fake.name()}
        for who in ids
    ]
    half = len(orders) // 2
    files = {
        "订单-01.csv": pd.DataFrame(orders[:half]),
        "订单-02.csv": pd.DataFrame(orders[half:]),
        "客户资料.csv": pd.DataFrame(customers),
        "客服联系.csv": pd.DataFrame(contacts),
        "授权.csv": pd.DataFrame(consents),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in files.items():
        frame.to_csv(folder / name, index=False)
    return files
