# Built in one stage, run in another: the image holds Python, the locked packages and the gateway, its hot modules compiled;
# no compiler, no pip cache. The first stage's base is the same Python with a C compiler.
FROM python:3.12 AS build
WORKDIR /src
RUN python -m venv /opt/spendgate
COPY requirements.lock ./
RUN /opt/spendgate/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY gateway ./gateway
COPY pricing ./pricing
# A gateway answers some calls here, so that the compiler lays the code out by what calls do.
COPY bench/proxying ./bench/proxying
COPY deploy/compile.py deploy/layout.py deploy/training.py ./deploy/
RUN /opt/spendgate/bin/python deploy/compile.py --wheel \
    && /opt/spendgate/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps dist/*.whl \
    && /opt/spendgate/bin/pip uninstall --yes --quiet setuptools cython
# A quarter of it all is symbols for debuggers, and pyarrow's tests and C headers. What was made smaller is tried.
RUN cd /opt/spendgate/lib/python3*/site-packages && rm -r pyarrow/tests pyarrow/include \
    && find . -type f \( -name '*.so' -o -name '*.so.[0-9]*' \) -exec strip --strip-unneeded {} + \
    && /opt/spendgate/bin/python -c "import aiohttp, httptools, msgspec, pyarrow.parquet, regex, tiktoken, uvloop, zstandard; \
import cryptography.hazmat.bindings._rust, pydantic, gateway.app"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/spendgate --create-home spendgate \
    && mkdir /etc/spendgate
COPY --from=build /opt/spendgate /opt/spendgate
ENV PATH=/opt/spendgate/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SPENDGATE_CONFIG=/etc/spendgate/config.toml
# The configuration is mounted at /etc/spendgate/config.toml. In it: server.listen = "0.0.0.0:8080", an admin_token where
# admin_listen is no loopback address, and server.data_dir = "/var/lib/spendgate", the one place that is written to.
WORKDIR /var/lib/spendgate
VOLUME /var/lib/spendgate
USER spendgate
EXPOSE 8080 8081
# The data plane answers health too; SPENDGATE_HEALTH_URL for another port or TLS.
ENV SPENDGATE_HEALTH_URL=http://127.0.0.1:8080/healthz
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(os.environ['SPENDGATE_HEALTH_URL'], timeout=2).close()"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["spendgate"]
CMD ["serve"]
