"""Every setting of Tenantry, with its unit and default, read from the environment once."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.base.money import Rounding

CHECKOUT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """The configuration; each field is the variable TENANTRY_<FIELD> unless an alias is named."""

    model_config = SettingsConfigDict(env_prefix="TENANTRY_", extra="ignore", frozen=True)

    environment: Literal["dev", "demo", "test", "production"] = "dev"
    # user:password in DATABASE_URL are the administrator's and serve `flask setup` only; the
    # processes that run sign in as roles whose passwords derive from the secret key.
    database_url: str = Field(
        default="postgresql://127.0.0.1:5432/tenantry", validation_alias="DATABASE_URL"
    )
    # Where pushed usage lies; empty means in the control database.
    usage_database_url: str = Field(default="", validation_alias="USAGE_DATABASE_URL")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias="REDIS_URL")
    secret_keys: SecretStr = SecretStr("")
    var_dir: Path = CHECKOUT / "var"
    files_dir: Path | None = None
    public_url: str = "http://127.0.0.1:8000"
    trusted_hosts: str = ""
    proxies_trusted: int = 0
    log_level: str = "INFO"

    # The seller, as it stands on invoices and tax papers.
    seller_name: str = "주식회사 테넌트리 데모"
    seller_name_en: str = "Tenantry Demo Co., Ltd."
    seller_registration_number: str = "1248100998"
    seller_representative: str = "대표이사"
    seller_address: str = "서울특별시 중구 세종대로 110"
    seller_business_type: str = "정보통신업"
    seller_business_item: str = "소프트웨어 개발 및 공급"
    seller_email: str = "billing@tenantry.example"
    seller_phone: str = "02-0000-0000"
    seller_bank_account: str = "데모은행 000-000-000000 (예금주 주식회사 테넌트리 데모)"

    mail_from: str = "Tenantry <no-reply@tenantry.example>"
    mail_reply_to: str = "support@tenantry.example"
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 1025
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["none", "starttls", "tls"] = "none"
    smtp_timeout_seconds: float = 15
    sales_email: str = "sales@tenantry.example"
    slack_webhook_url: SecretStr = SecretStr("")
    slack_timeout_seconds: float = 10

    contract_timezone: str = "Asia/Seoul"
    currency: str = "KRW"
    vat_rate_percent: int = 10
    vat_rounding: Rounding = Rounding.DOWN
    # How the supply value is rounded where a price includes VAT.
    vat_included_rounding: Rounding = Rounding.HALF_UP
    payment_term_days: int = 14
    invoice_grace_hours: int = 0
    # How long after its end a billed total is looked at again, for events that came late.
    late_usage_days: int = 100
    # The brake: a bill is held for a person from so many times its usual on, and above a floor.
    brake_factor: Decimal = Decimal(3)
    brake_floor: str = "KRW=1000000,USD=1000,EUR=1000,JPY=100000"
    brake_lines_per_day: int = 1_000
    # Bills of one day that come to more need a second person to release them, e.g. "KRW=50000000".
    run_release_limit: str = ""
    # Where there is a limit, a bill waits for the others of its day; for so many hours at most.
    run_wait_hours: int = 6
    billing_day: int = 0
    customer_may: str = "plan,quantity,addons,cancel"
    paper_language: Literal["ko", "en"] = "ko"

    confirmation_hours: int = 48
    unconfirmed_retention_days: int = 7
    rejected_retention_days: int = 30
    review_sla_hours: int = 24
    review_claim_minutes: int = 30
    trial_days_default: int = 14
    trial_days_max: int = 90
    retention_days: int = 90
    visit_retention_days: int = 180
    access_log_retention_days: int = 365
    visitor_cookie_days: int = 390

    session_idle_minutes: int = 120
    session_absolute_hours: int = 24
    session_store: Literal["redis", "db"] = "redis"
    sign_in_attempts_max: int = 8
    sign_in_window_minutes: int = 15
    password_length_min: int = 10

    upload_bytes_max: int = 50 * 1024 * 1024
    request_bytes_max: int = 1024 * 1024
    # How long a web process trusts what it knows of an API key and of a tenant's being live.
    api_memory_seconds: float = 2.0
    # How old the count behind a quota may be.
    quota_fresh_seconds: int = 60
    event_batch_max: int = 1_000
    event_body_bytes_max: int = 2 * 1024 * 1024
    event_calls_per_minute_max: int = 60_000
    event_backdating_days: int = 35
    event_clock_skew_seconds: int = 300
    event_id_length_max: int = 256
    event_properties_max: int = 32
    event_properties_bytes_max: int = 4_096
    event_retention_months: int = 60
    page_size: int = 25
    export_rows_max: int = 200_000
    bulk_documents_max: int = 2_000

    # The account that new payment methods are registered at, while no stored one is the default.
    gateway: str = "sandbox"
    # How long a process goes on with a merchant account's credentials before it reads them again.
    gateway_account_seconds: float = 5.0
    sandbox_gateway_url: str = "http://127.0.0.1:8010"
    sandbox_gateway_secret: SecretStr = SecretStr("sandbox_sk_local")
    sandbox_webhook_secret: SecretStr = SecretStr("whsec_c2FuZGJveC13ZWJob29rLXNlY3JldC0wMQ==")
    gateway_connect_timeout_seconds: float = 3
    gateway_read_timeout_seconds: float = 60
    payment_retry_days: str = "2,5,7,7"
    past_due_grace_days: int = 7
    # How long before its suspension a debtor has the final warning, at least.
    suspension_warning_days: int = 2
    card_link_days: int = 14
    virtual_account_hours: int = 168
    statement_rows_max: int = 5_000
    # What becomes of a subscriber who did not agree to a dearer price by its day: nothing changes
    # for them, or their subscription ends with the day before.
    price_rise_unanswered: Literal["stay", "end"] = "stay"

    # Who issues tax invoices: this machine, which transmits nothing, or an agent of the seller's.
    tax_issuer: Literal["offline", "popbill"] = "offline"
    # Eight digits that the tax service gives to whoever may issue. Zeros are given to nobody.
    tax_issuer_registration: str = Field(default="00000000", pattern=r"^[0-9]{8}$")
    # Who may draw tax invoices up beside the seller: the buyer (reverse, 역발행), an agent of the
    # seller's (consigned, 위수탁). Each needs a contract, and an issuer that offers it.
    tax_directions: Literal["", "reverse", "consigned", "reverse,consigned"] = ""
    tax_certificate_file: Path | None = None
    tax_certificate_password: SecretStr = SecretStr("")
    # Who issues cash receipts: nobody, popbill, or the code of a gateway's merchant account.
    cash_receipt_issuer: str = ""
    popbill_link_id: str = ""
    popbill_secret_key: SecretStr = SecretStr("")
    popbill_user_id: str = ""
    popbill_test: bool = True
    popbill_url: str = ""
    popbill_auth_url: str = "https://auth.linkhub.co.kr"
    tax_issuer_timeout_seconds: float = 30
    # How often an issuer is asked what the tax service made of a paper.
    tax_paper_look_minutes: int = 60

    # The key that data.go.kr gives for the register of businesses; without one nobody is asked.
    business_service_key: SecretStr = SecretStr("")
    business_status_url: str = "https://api.odcloud.kr/api/nts-businessman/v1"
    business_status_timeout_seconds: float = 5
    # Where word of deadlines and of closed businesses goes; empty means the seller's own address.
    finance_email: str = ""

    lease_seconds: int = 60
    work_attempts_max: int = 12
    sweep_seconds: float = 3
    provisioning_chunk: int = 10
    tenant_connection_limit: int = 10
    tenant_statement_timeout_seconds: int = 15
    tenants_per_cluster_max: int = 1_500
    metering_chunk: int = 50
    invoicing_chunk: int = 500
    document_cpu_seconds: int = 60
    document_memory_bytes: int = 1024 * 1024 * 1024
    document_timeout_seconds: int = 90

    @field_validator("brake_floor", "run_release_limit")
    @classmethod
    def _amounts(cls, value: str) -> str:
        amounts_by_currency(value)
        return value

    @field_validator(
        "public_url",
        "sandbox_gateway_url",
        "popbill_url",
        "popbill_auth_url",
        "business_status_url",
    )
    @classmethod
    def _no_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def finance_to(self) -> str:
        """Where mail for finance goes."""
        return self.finance_email or self.seller_email

    @property
    def files(self) -> Path:
        """The folder of stored files: uploads, issued papers, exports."""
        return self.files_dir or self.var_dir / "files"

    @property
    def clock_may_be_set(self) -> bool:
        """True where the application clock may be moved: demonstrations and tests only."""
        return self.environment in ("demo", "test")

    @property
    def secure_cookies(self) -> bool:
        """True where cookies travel over TLS only."""
        return self.public_url.startswith("https://")

    @property
    def payment_retry_ladder_days(self) -> tuple[int, ...]:
        """Days from one declined attempt to the next."""
        return tuple(int(days) for days in self.payment_retry_days.split(",") if days.strip())


def amounts_by_currency(text: str) -> dict[str, Decimal]:
    """This function will read a list of amounts, `KRW=1000000,USD=1000`, in major units.

    Raises: ValueError for anything else.
    """
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        currency, _, amount = (piece.strip() for piece in part.partition("="))
        try:
            found[currency] = Decimal(amount)
        except InvalidOperation:
            raise ValueError(f"{part!r} is no amount like KRW=1000000") from None
        if len(currency) != 3 or not currency.isupper() or not found[currency].is_finite():
            raise ValueError(f"{part!r} is no amount like KRW=1000000")
    return found


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This function will return the settings of this process, read once.

    Raises: pydantic.ValidationError naming the variable that is wrong.
    """
    return Settings()


def faults(error: ValidationError) -> list[str]:
    """This function will name each variable that is wrong, and why, one a line."""
    found = []
    for problem in error.errors():
        name = "_".join(str(part) for part in problem["loc"])
        # A field with an alias is told by it; the others want their prefix.
        variable = f"TENANTRY_{name.upper()}" if name in Settings.model_fields else name
        found.append(f"{variable}: {problem['msg']}.")
    return found
