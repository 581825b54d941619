"""The cards that can be registered, and the errors that Toss Payments knows, by code."""

from __future__ import annotations

from dataclasses import dataclass

# Status and message of each error that can be forced or that a card or a rule brings about.
ERRORS = {
    "REJECT_CARD_PAYMENT": (403, "한도초과 혹은 잔액부족으로 결제에 실패했습니다."),
    "REJECT_ACCOUNT_PAYMENT": (403, "잔액부족으로 결제에 실패했습니다."),
    "EXCEED_MAX_ONE_DAY_AMOUNT": (403, "일일 한도를 초과했습니다."),
    "NOT_AVAILABLE_BANK": (403, "은행 서비스 시간이 아닙니다."),
    "EXCEED_MAX_DAILY_PAYMENT_COUNT": (400, "하루 결제 가능 횟수를 초과했습니다."),
    "EXCEED_MAX_PAYMENT_AMOUNT": (400, "하루 결제 가능 금액을 초과했습니다."),
    "EXCEED_MAX_AMOUNT": (400, "거래금액 한도를 초과했습니다."),
    "PROVIDER_ERROR": (400, "일시적인 오류가 발생했습니다."),
    "CARD_PROCESSING_ERROR": (400, "카드사에서 오류가 발생했습니다."),
    "NOT_AVAILABLE_PAYMENT": (400, "결제가 불가능한 시간대입니다."),
    "INVALID_STOPPED_CARD": (400, "정지된 카드 입니다."),
    "INVALID_CARD_EXPIRATION": (400, "카드 정보를 다시 확인해주세요. (유효기간)"),
    "INVALID_CARD_NUMBER": (400, "카드번호를 다시 확인해주세요."),
    "INVALID_CARD_LOST_OR_STOLEN": (400, "분실 혹은 도난 카드입니다."),
    "INVALID_REJECT_CARD": (400, "카드 사용이 거절되었습니다."),
    "NOT_SUPPORTED_CARD_TYPE": (400, "지원되지 않는 카드 종류입니다."),
    "INVALID_BILL_KEY_REQUEST": (400, "빌링키 인증이 완료되지 않았거나 유효하지 않습니다."),
    "BILLING_KEY_NOT_FOUND": (400, "존재하지 않는 빌링키입니다."),
    "ALREADY_REMOVED_BILLING_KEY": (400, "이미 삭제된 빌링키입니다."),
    "REJECT_CARD_COMPANY": (403, "결제 승인이 거절되었습니다."),
    "EXCEED_MAX_AUTH_COUNT": (403, "최대 인증 횟수를 초과했습니다."),
    "NOT_FOUND_BILLING": (404, "존재하지 않는 빌링 결제입니다."),
    "UNAUTHORIZED_KEY": (401, "인증되지 않은 시크릿 키 혹은 클라이언트 키 입니다."),
    "INVALID_API_KEY": (400, "잘못된 시크릿키 연동 정보 입니다."),
    "INVALID_REQUEST": (400, "잘못된 요청입니다."),
    "INVALID_IDEMPOTENCY_KEY": (400, "멱등키는 300자 이하여야 합니다."),
    "IDEMPOTENT_REQUEST_PROCESSING": (409, "이전 멱등 요청이 처리중입니다."),
    "NOT_MATCHES_CUSTOMER_KEY": (400, "빌링 인증 고객키와 결제 요청 고객키가 일치하지 않습니다."),
    "BELOW_MINIMUM_AMOUNT": (400, "신용카드는 결제금액이 100원 이상이어야 합니다."),
    "FORBIDDEN_REQUEST": (403, "허용되지 않은 요청입니다."),
    "INCORRECT_BASIC_AUTH_FORMAT": (403, "잘못된 요청입니다. ':' 를 포함해 인코딩해주세요."),
    "FAILED_INTERNAL_SYSTEM_PROCESSING": (500, "내부 시스템 처리 작업이 실패했습니다."),
    "UNKNOWN_PAYMENT_ERROR": (500, "결제에 실패했어요."),
    "FAILED_CARD_COMPANY_RESPONSE": (500, "카드사에서 에러가 발생했습니다."),
    "DUPLICATED_ORDER_ID": (400, "이미 승인 및 취소가 진행된 중복된 주문번호 입니다."),
    "ALREADY_PROCESSED_PAYMENT": (400, "이미 처리된 결제 입니다."),
    "FDS_ERROR": (403, "위험거래가 감지되어 결제가 제한됩니다."),
    "ALREADY_CANCELED_PAYMENT": (400, "이미 취소된 결제 입니다."),
    "REFUND_REJECTED": (400, "환불이 거절됐습니다."),
    "NOT_MATCHES_REFUNDABLE_AMOUNT": (400, "취소 금액이 환불 가능 금액과 일치하지 않습니다."),
    "NOT_CANCELABLE_PAYMENT": (403, "취소 할 수 없는 결제 입니다."),
    "NOT_CANCELABLE_AMOUNT": (403, "취소 할 수 없는 금액 입니다."),
    "NOT_ALLOWED_PARTIAL_REFUND": (403, "부분 환불이 불가능한 결제 입니다."),
    "EXCEED_MAX_REFUND_DUE": (403, "환불 가능한 기간이 지났습니다."),
    "FAILED_REFUND_PROCESS": (500, "환불 요청에 실패했습니다."),
    "FAILED_PARTIAL_REFUND": (500, "부분 환불에 실패했습니다."),
    "NOT_FOUND_PAYMENT": (404, "존재하지 않는 결제 정보 입니다."),
    "NOT_FOUND": (404, "존재하지 않는 정보 입니다."),
}


class Refusal(Exception):
    """An error of Toss Payments, by its code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.status, self.message = ERRORS.get(code, (400, "알 수 없는 에러입니다."))

    @property
    def body(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True, slots=True)
class Card:
    """A card of the page. `code` declines each charge, or the first `declines` of them."""

    number: str
    behaviour: str
    words: str
    code: str | None = None
    declines: int | None = None

    @property
    def masked(self) -> str:
        return f"{self.number[:8]}****{self.number[12:15]}*"


def _card(
    last: int, behaviour: str, words: str, code: str | None = None, declines: int | None = None
) -> Card:
    return Card(f"43301234{last:08d}", behaviour, words, code, declines)


CARDS = (
    _card(1230, "pays", "항상 결제됩니다"),
    _card(2230, "insufficient", "한도 초과로 거절됩니다", "REJECT_CARD_PAYMENT"),
    _card(3230, "stolen", "분실·도난 카드입니다", "INVALID_CARD_LOST_OR_STOLEN"),
    _card(4230, "expired", "유효기간이 지났습니다", "INVALID_CARD_EXPIRATION"),
    _card(5230, "suspected", "위험거래로 보류됩니다", "FDS_ERROR"),
    _card(6230, "declines_once", "한 번 거절된 뒤 결제됩니다", "REJECT_CARD_PAYMENT", 1),
    _card(7230, "pays_then_hangs", "결제되고 응답이 오지 않습니다"),
    _card(8230, "pays_then_drops", "결제되고 연결이 끊깁니다"),
    _card(9230, "pays_then_fails", "결제되고 한 번 500으로 응답합니다"),
    _card(10230, "pays_and_keeps_failing", "결제되고 계속 500으로 응답합니다"),
    _card(11230, "busy_once", "결제되고 한 번 409로 응답합니다"),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_BEHAVIOUR = {card.behaviour: card for card in CARDS}
