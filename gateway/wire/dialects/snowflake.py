"""Snowflake Cortex REST API. Source: https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api"""

from gateway.wire.openai_shape import OpenAIShape


class Snowflake(OpenAIShape):
    kind = "snowflake"
    price_as = "snowflake"
    base_url = ""


DIALECT = Snowflake()
