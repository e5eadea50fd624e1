// What `make check` needs to know of marked: the vendored file itself is minified and not ours to check.
export class Marked {
  constructor(options: object);
  parse(text: string): string;
}
