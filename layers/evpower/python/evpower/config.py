"""All settings, under the environment names of the product. Read once per process by :func:`get_settings`."""

import os
from decimal import Decimal
from functools import lru_cache
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_LOCAL_SECRET = "local-development-secret-do-not-deploy"  # noqa: S105 - refused in production below


class Settings(BaseSettings):
    """Settings by group; durations are seconds (``_S``), money is som."""

    model_config = SettingsConfigDict(extra="ignore", case_sensitive=False)

    environment: Literal["local", "test", "dev", "stage", "production"] = "local"
    log_level: str = "INFO"
    enable_swagger: bool = False
    sentry_dsn: str = ""
    metrics_interval_s: float = Field(default=60.0, gt=0)  # how often the socket tier writes its metrics
    instance_id: str = ""
    git_commit: str = ""
    build_time: str = ""

    # Data
    database_url: SecretStr = SecretStr("postgresql://localhost/evpower")
    database_role: str = ""  # role taken inside each transaction, e.g. evpower_api
    database_pooler: Literal["session", "transaction"] = "transaction"
    database_pool_size: int = Field(default=8, ge=1, le=100)
    # An answer that takes longer will not come: the connection is thrown away. The server ends statements before that.
    database_answer_timeout_s: float = Field(default=10.0, ge=0.1, le=300)
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    redis_cluster: bool = False

    # Queues
    aws_endpoint_url: str | None = None
    aws_region: str = "eu-central-1"
    sqs_commands_queue_url: str = ""
    sqs_payment_checks_queue_url: str = ""
    sqs_push_queue_url: str = ""

    # Files of chargers and operators (firmware, logs) in an S3 bucket; empty: none
    files_bucket: str = ""
    files_endpoint_url: str | None = None  # another S3 endpoint than AWS_ENDPOINT_URL
    files_access_key_id: str = ""  # signs the links; empty: the process's own credentials
    files_secret_access_key: SecretStr = SecretStr("")
    firmware_max_bytes: int = 512 * 1024 * 1024

    # Authentication
    supabase_url: str = ""
    supabase_anon_key: SecretStr = SecretStr("")
    supabase_service_role_key: SecretStr = SecretStr("")
    supabase_jwt_secret: SecretStr = SecretStr("")
    supabase_jwt_audience: str = "authenticated"
    auth_token_secret: SecretStr = SecretStr(_LOCAL_SECRET)
    auth_token_secrets_previous: SecretStr = SecretStr("")  # comma-separated; still accepted after a rotation
    otp_pepper: SecretStr = SecretStr("")  # key of the hashes of login codes; empty: derived from the token secret
    # Codes for phones without an account from one address, which many phones of a carrier share; clients get as many.
    otp_sends_per_address_per_hour: int = 60
    # What strangers can make us pay for text messages: to one range of numbers (all but the last six digits), in all.
    otp_sends_per_prefix_per_hour: int = Field(default=100, ge=1)
    otp_sends_per_prefix_per_day: int = Field(default=500, ge=1)
    otp_sends_per_hour: int = Field(default=300, ge=1)
    otp_sends_per_day: int = Field(default=2000, ge=1)
    otp_share_kept_for_clients: float = Field(default=0.5, ge=0, le=1)  # of these four, for phones with an account
    otp_checks_per_address_per_minute: int = 30  # wrong codes
    master_api_key: SecretStr = SecretStr("")
    hmac_secret: SecretStr = SecretStr("")
    hmac_legacy_enabled: bool = False

    # Text messages
    sms_provider: Literal["local", "sns", "http"] = "local"
    sms_countries: str = "996"  # calling codes that login codes are sent to, comma-separated
    sms_gateway_url: str = ""
    sms_gateway_token: SecretStr = SecretStr("")
    sms_sender_id: str = ""
    sms_timeout_s: float = 5.0

    # Push notifications. A provider without its secret is not used.
    fcm_service_account: SecretStr = SecretStr("")  # the service account's JSON key, as Google hands it out
    fcm_api_url: str = "https://fcm.googleapis.com"
    apns_key: SecretStr = SecretStr("")  # the .p8 file's text
    apns_key_id: str = ""
    apns_team_id: str = ""
    apns_topic: str = ""  # the app's bundle id
    apns_api_url: str = "https://api.push.apple.com"
    vapid_private_key: SecretStr = SecretStr("")  # P-256 private value, base64url
    vapid_subject: str = ""  # mailto: or https: contact for the browsers' push services
    # Browsers name the address that we call, so only known services (and hosts below them) are called.
    web_push_hosts: str = (
        "fcm.googleapis.com,push.services.mozilla.com,web.push.apple.com,notify.windows.com,push.samsungosp.com"
    )
    push_ca_file: str = ""  # authorities for the providers' certificates instead of the public ones
    push_timeout_s: float = 5.0
    low_balance_threshold_som: Decimal = Decimal(50)

    # Payments
    payment_provider: Literal["ODENGI", "OBANK"] = "ODENGI"
    odengi_api_url: str = "https://mw-api-test.dengi.kg/api/json/json.php"
    odengi_merchant_id: str = ""
    odengi_password: SecretStr = SecretStr("")
    odengi_webhook_secret: SecretStr = SecretStr("")
    odengi_result_url: str = ""
    odengi_test_mode: bool = False
    provider_timeout_s: float = 7.0
    obank_enabled: bool = False
    obank_api_url: str = "https://test-rakhmet.dengi.kg:4431/external/extended-cert"
    obank_point: str = ""
    obank_service_id: str = ""
    obank_cert_path: str = ""  # PKCS#12 file of the client certificate
    obank_cert_password: SecretStr = SecretStr("")
    obank_ca_path: str = ""  # PEM file of the authority of its server; empty: the public ones
    obank_timeout_s: float = 25.0  # its manual says 30, our gateway gives up at 29
    # Its papers disagree on both: a wrong unit charges ten times too much or too little, so there is no default.
    obank_units_per_som: int = 0  # 100 or 1000
    obank_success_states: str = "60"
    obank_failure_states: str = "80"
    obank_unknown_states: str = "-2"  # "no such payment"
    obank_notify_url: str = ""  # our webhook
    obank_notify_secret: SecretStr = SecretStr("")  # signs the order into the webhook's address
    obank_redirect_url: str = ""  # where the payer lands after 3-D Secure
    obank_city: str = "BISHKEK"
    obank_country_code: str = "KGZ"
    topup_min_som: Decimal = Decimal(10)
    topup_max_som: Decimal = Decimal(100_000)
    invoice_lifetime_s: int = 300
    invoice_grace_s: int = 300
    payment_check_interval_s: int = 15

    # Charging
    station_offline_after_s: int = 600
    no_connection_after_s: int = 600
    session_max_s: int = 12 * 3600
    unlimited_reserve_som: Decimal = Decimal(200)
    minimum_reserve_som: Decimal = Decimal(10)
    default_price_per_kwh: Decimal = Decimal("13.5")
    meter_max_power_kw: Decimal = Decimal(400)  # plausibility bound where a connector's power is unknown
    stop_wait_s: float = 6.0
    command_wait_max_s: float = 20.0  # of an operator's ?wait=; the gateway gives up at 29
    late_start_live_s: int = 300

    # Socket tier
    socket_tier_host: str = "127.0.0.1"
    socket_tier_port: int = 9220
    socket_tier_url: str = "http://127.0.0.1:9220"
    allow_unauthenticated_stations: bool = False
    heartbeat_interval_s: int = 300
    meter_sample_interval_s: int = 60
    ocpp_ping_interval_s: float = 30.0
    ocpp_call_timeout_s: float = 30.0
    # A StopTransaction with the readings of a long charge: 480 of them are 100 KB, a day of all measurands 1 MB.
    ocpp_max_frame_bytes: int = 1024 * 1024
    ocpp_max_connections: int = 10_000
    ocpp_max_connections_per_address: int = 2_000
    message_log: bool = True  # what is said to and by each charger, kept for operators
    trusted_proxies: str = ""  # comma-separated networks whose X-Forwarded-For and client-certificate headers count
    # Begin of the names of the headers with which the load balancer passes a client certificate that it has verified,
    # e.g. X-Amzn-Mtls-Clientcert. Only where every way through the trusted proxies asks for certificates: on another
    # listener anybody could send them. Empty: such headers mean nothing.
    client_certificate_header: str = ""

    # Credentials of chargers
    station_secrets_key: SecretStr = SecretStr("")  # seals keys on their way to chargers; empty: from the token secret
    certificate_authority: Literal["off", "local", "aws"] = "off"  # who signs the chargers' certificates
    ca_certificate: str = ""  # local: PEM of the authority's certificate, and those above it
    ca_key: SecretStr = SecretStr("")  # local: PEM of its private key
    ca_arn: str = ""  # aws: the private authority
    cpo_name: str = ""  # organisation that the chargers' requests must name (CpoName); empty: not looked at
    certificate_days: int = Field(default=365, ge=1, le=3650)
    certificate_warning_days: str = "30,7"
    certificate_renew_days: int = Field(default=30, ge=1, le=365)

    # Edge
    cors_origins: str = "https://localhost,capacitor://localhost,http://localhost:3000"
    trusted_proxy_hops: int = 1
    rate_limit_default_per_minute: int = 60  # of a client
    rate_limit_critical_per_minute: int = 10  # of a client: starts and payments together; stops have as many
    rate_limit_public_per_minute: int = 3000  # reads without a credential by address; a carrier's NAT is one address
    rate_limit_failures_per_minute: int = 120  # refused requests without a credential by address
    rate_limit_webhook_per_minute: int = 30

    # Retention
    meter_retention_days: int = 400
    message_log_days: int = Field(default=7, ge=1, le=90)
    event_retention_days: int = 90
    audit_retention_days: int = 1095

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then Secrets Manager where SECRET_IDS is set, then the environment."""
        usual = (env_settings, dotenv_settings, file_secret_settings)
        if not os.environ.get("SECRET_IDS"):
            return (init_settings, *usual)
        from pydantic_settings import InitSettingsSource

        from evpower.aws_secrets import secret_settings

        found = {name.lower(): value for name, value in secret_settings(os.environ).items()}
        known = {name: value for name, value in found.items() if name in cls.model_fields}
        return (init_settings, InitSettingsSource(settings_cls, init_kwargs=known), *usual)

    @property
    def cors_origin_list(self) -> list[str]:
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    @property
    def sms_country_codes(self) -> tuple[str, ...]:
        """Calling codes without their plus signs."""
        return tuple(code.strip().removeprefix("+") for code in self.sms_countries.split(",") if code.strip())

    @property
    def certificate_warnings(self) -> tuple[int, ...]:
        """Days before expiry at which operators are told, largest first; 0, the expiry itself, is always among them."""
        days = {int(item) for item in self.certificate_warning_days.split(",") if item.strip()}
        return tuple(sorted(days | {0}, reverse=True))

    @model_validator(mode="after")
    def _refuse_unknown_countries(self) -> Self:
        codes = self.sms_country_codes
        if not codes or not all(
            code.isascii() and code.isdigit() and len(code) <= 6 and code[0] != "0" for code in codes
        ):
            raise ValueError("SMS_COUNTRIES are calling codes, separated by commas: 996 or 996,7")
        return self

    @model_validator(mode="after")
    def _refuse_half_an_authority(self) -> Self:
        if self.certificate_authority == "local" and not (self.ca_certificate and self.ca_key.get_secret_value()):
            raise ValueError("CERTIFICATE_AUTHORITY=local needs CA_CERTIFICATE and CA_KEY")
        if self.certificate_authority == "aws" and not self.ca_arn:
            raise ValueError("CERTIFICATE_AUTHORITY=aws needs CA_ARN")
        if any(not 0 <= days <= 3650 for days in self.certificate_warnings):
            raise ValueError("CERTIFICATE_WARNING_DAYS are whole days, separated by commas")
        return self

    @model_validator(mode="after")
    def _refuse_half_an_obank(self) -> Self:
        if self.obank_enabled and self.payment_provider == "OBANK":
            needed = ("obank_point", "obank_service_id", "obank_cert_path")
            if missing := [name.upper() for name in needed if not getattr(self, name)]:
                raise ValueError(f"OBANK_ENABLED needs {', '.join(missing)}")
            if self.obank_units_per_som not in (100, 1000):
                raise ValueError("OBANK_UNITS_PER_SOM must be 100 or 1000: ask the bank which one its `sum` counts in")
            if self.obank_notify_url and len(self.obank_notify_secret.get_secret_value()) < 16:
                raise ValueError("OBANK_NOTIFY_URL needs an OBANK_NOTIFY_SECRET of at least 16 characters")
            # Its answers do not tell test payments from real ones, and test cards must not buy electricity.
            if self.environment == "production" and "://test-" in self.obank_api_url:
                raise ValueError("OBANK_API_URL is the bank's test system")
        return self

    @model_validator(mode="after")
    def _refuse_default_secrets(self) -> Self:
        if self.environment not in ("local", "test"):
            # Whoever knows it can sign in as anybody, on a stage as well.
            secrets = [self.auth_token_secret, self.auth_token_secrets_previous]
            if any(_LOCAL_SECRET in secret.get_secret_value() for secret in secrets):
                raise ValueError("AUTH_TOKEN_SECRET still has its development value: set a secret of your own")
            if len(self.auth_token_secret.get_secret_value()) < 32:
                raise ValueError("AUTH_TOKEN_SECRET is too short: HS256 wants at least 32 characters (RFC 7518 3.2)")
            sealing = self.station_secrets_key.get_secret_value()
            if sealing and len(sealing) < 32:
                raise ValueError("STATION_SECRETS_KEY is too short: at least 32 characters")
        if self.environment == "production":
            if self.allow_unauthenticated_stations:
                raise ValueError("ALLOW_UNAUTHENTICATED_STATIONS must not be set in production")
            if self.odengi_test_mode:
                raise ValueError("ODENGI_TEST_MODE must not be set in production")
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings. Tests that change the environment call ``get_settings.cache_clear()``."""
    return Settings()
