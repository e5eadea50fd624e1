// DOMPurify is imported for its effect alone: it puts itself into globalThis.
export {};
