"""Snowflake Cortex REST API. Source: https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api"""

from gateway.wire.openai_shape import OpenAIShape


class Snowflake(OpenAIShape):
    __slots__ = ()

    kind = "snowflake"
    price_as = "snowflake"
    base_url = ""
    operations = {
        **OpenAIShape.operations,
        "/cortex/inference:complete": "cortex_complete",
        "/cortex/inference:embed": "embeddings",
    }


DIALECT = Snowflake()
