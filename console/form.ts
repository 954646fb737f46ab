/** What was typed into a field, without space around it. */
export function readText(form: FormData, name: string): string {
  const value = form.get(name)
  return typeof value === 'string' ? value.trim() : ''
}

/** `site=north, line=3` */
export function readLabels(text: string): Record<string, string> {
  const parts = text.split(/[\s,]+/).filter((part) => part !== '')
  return Object.fromEntries(parts.map((part) => [part.split('=', 1)[0]!, part.slice(part.indexOf('=') + 1)]))
}
