// The page's sentences in both languages, and how it writes times and numbers.

import { locale } from "../reader/language.js";

const ENGLISH = {
  "page": "Vitrine: the log", "title": "The log", "skip": "To the records", "ask": "Ask about pictures", "other-language": "中文",
  "theme": "Light or dark", "leave": "Sign out", "sign-in": "Sign in as an auditor",
  "sign-in-hint": "The log is shown to keys and people with the scope audit.", "key": "API key", "enter": "Sign in",
  "user": "Name", "password": "Password", "what-was-checked": "What was checked", "check-again": "Check again",
  "records": "Records", "who-saw": "Which exchanges saw this picture?",
  "drop": "Drop a file here, or choose one. It stays in this browser: only its SHA-256 is asked for.",
  "forget-picture": "Without the picture", "since": "From", "until": "Until", "tenant": "Tenant", "key-id": "Key or person",
  "model": "Model", "kind": "Kind", "outcome": "Outcome", "show": "Show", "all": "All", "time": "Time", "pictures": "Pictures",
  "tokens": "Tokens", "took": "ms", "leaf": "Leaf", "older": "Older records", "any": "any",
  "no-scope": "This key or account may not read the log. It needs the scope audit.",
  "session-over": "The session is over. Sign in again.",
  "not-reached": "The gateway does not answer. Try again.", "wait": "Try again in {seconds} s.",
  "no-sha": "This browser gives SHA-256 only to pages that came over https or from this machine. Open the page that way.",
  "too-large": "A picture of at most 64 MB can be looked for.",
  "reading": "Reading the log …", "found": "{rows} shown of {records} records in the log; {looked} were looked at for the last page.",
  "going-on": "Still looking: {looked} records so far …", "none": "Nothing fits. {looked} records were looked at.",
  "pruned": "Old records were deleted as the retention says; their hashes are still in the tree.",
  "good": "Green: the log is what was written", "bad": "Red: the log does not verify", "unknown": "Not checked yet",
  "checking": "Being checked now, at record {at}.",
  "good-words": "All {records} records were hashed and compared at {time}, in {took} ms; the newest signed head covers {signed}.",
  "bad-words": "Checked at {time}. Keep the log as it is and follow docs/audit.md for exit code {code}.",
  "lost": "{lost} records could not be written, as gap records say.",
  "fact-origin": "Log", "fact-root": "Root of the newest head", "fact-signed": "Signed", "fact-heads": "Signed heads compared",
  "fact-segments": "Segments read", "fact-anchors": "Heads kept elsewhere that it continues", "fact-first": "First record",
  "fact-last": "Last record", "fact-kinds": "Records by kind", "fact-open": "Exchanges without an end",
  "fact-pruned": "Deleted records, hashes checked", "fact-torn": "Torn bytes at the end", "fact-key": "Public key",
  "exchange": "exchange", "deny": "refusal", "boot": "start", "integrity": "alarm", "gap": "gap", "recovery": "recovery",
  "seal": "seal", "prune": "deletion", "shutdown": "shutdown", "key-change": "key or session",
  "completed": "completed", "client_left": "client left", "engine_broke": "engine broke", "refused": "refused",
  "timed_out": "timed out", "running": "no end", "denied": "denied", "unknown-end": "end not looked up",
  "details": "Details of record {index}",
};

/** @type {Record<string, string>} */
const CHINESE = {
  "page": "Vitrine：日志", "title": "日志", "skip": "跳到记录", "ask": "图片问答", "other-language": "English",
  "theme": "浅色或深色", "leave": "退出", "sign-in": "以审计员身份登录",
  "sign-in-hint": "只有具备 audit 权限的密钥和账号才能查看日志。", "key": "API 密钥", "enter": "登录",
  "user": "用户名", "password": "密码", "what-was-checked": "检查了什么", "check-again": "再检查一次",
  "records": "记录", "who-saw": "哪些请求见过这张图片？",
  "drop": "把文件拖到这里，或选择一个文件。文件不会离开浏览器，只用它的 SHA-256 查询。",
  "forget-picture": "不按图片筛选", "since": "从", "until": "到", "tenant": "租户", "key-id": "密钥或用户",
  "model": "模型", "kind": "类型", "outcome": "结果", "show": "查询", "all": "全部", "time": "时间", "pictures": "图片",
  "tokens": "词元", "took": "毫秒", "leaf": "叶序号", "older": "更早的记录", "any": "不限",
  "no-scope": "该密钥或账号无权查看日志，需要 audit 权限。",
  "session-over": "会话已结束，请重新登录。",
  "not-reached": "网关没有响应，请重试。", "wait": "请在 {seconds} 秒后重试。",
  "no-sha": "浏览器只为 https 或本机页面提供 SHA-256，请以这种方式打开本页。",
  "too-large": "只能查找不超过 64 MB 的图片。",
  "reading": "正在读取日志……", "found": "显示 {rows} 条，日志共有 {records} 条记录；最近一页查看了 {looked} 条。",
  "going-on": "仍在查找，已查看 {looked} 条……", "none": "没有符合条件的记录。已查看 {looked} 条。",
  "pruned": "更早的记录已按保留期限删除，其哈希仍在树中。",
  "good": "绿色：日志与写入时一致", "bad": "红色：日志未通过验证", "unknown": "尚未检查",
  "checking": "正在检查，已到第 {at} 条。",
  "good-words": "{time} 对全部 {records} 条记录重新计算哈希并比对，用时 {took} 毫秒；最新的签名头覆盖 {signed} 条。",
  "bad-words": "检查时间 {time}。请保持日志原样，并按 docs/audit.md 中退出码 {code} 的说明处理。",
  "lost": "有 {lost} 条记录未能写入，见 gap 记录。",
  "fact-origin": "日志", "fact-root": "最新签名头的根", "fact-signed": "签名时间", "fact-heads": "比对过的签名头",
  "fact-segments": "读取的分段", "fact-anchors": "与之衔接的外部签名头", "fact-first": "第一条记录",
  "fact-last": "最后一条记录", "fact-kinds": "各类记录", "fact-open": "没有结尾的请求",
  "fact-pruned": "已删除但哈希已检查", "fact-torn": "末尾残缺字节", "fact-key": "公钥",
  "exchange": "请求", "deny": "拒绝", "boot": "启动", "integrity": "警报", "gap": "缺口", "recovery": "恢复",
  "seal": "封存", "prune": "删除", "shutdown": "关闭", "key-change": "密钥或会话",
  "completed": "完成", "client_left": "客户端离开", "engine_broke": "引擎故障", "refused": "被拒",
  "timed_out": "超时", "running": "无结尾", "denied": "拒绝进入", "unknown-end": "未查结尾",
  "details": "第 {index} 条记录的详情",
};

/** @type {Record<string, Record<string, string>>} */
export const TEXTS = { en: ENGLISH, zh: CHINESE };

export function when(/** @type {number | null | undefined} */ ms) {
  if (!ms) return "–";
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "medium" }).format(ms);
}

export function count(/** @type {number | null | undefined} */ number) {
  return number === null || number === undefined ? "–" : new Intl.NumberFormat(locale()).format(number);
}
