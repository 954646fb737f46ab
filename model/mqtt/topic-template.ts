/**
 * What a route makes of a topic: text with `${node.id}`, `${cluster}`, and `$1` to `$9` for what the wildcards of the
 * route's filter stood for, from left to right. `$$` is a dollar. Pure.
 */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'capture'; readonly number: number }
  | { readonly kind: 'variable'; readonly name: TemplateVariable }
export type TemplateVariable = 'node.id' | 'cluster'

const VARIABLES: readonly TemplateVariable[] = ['node.id', 'cluster']

/** @returns what is wrong with it and what would be right, when something is */
export function parseTemplate(template: string): readonly TemplatePart[] | string {
  const parts: TemplatePart[] = []
  let text = ''
  const piece = /\$\$|\$\{([^}]*)\}|\$([1-9])|\$|[^$]+/g
  for (const [whole, variable, capture] of template.matchAll(piece)) {
    if (whole === '$')
      return 'has a `$` that begins nothing: captures are $1 to $9, variables ${node.id} and ${cluster}, and a dollar is written $$'
    if (variable === undefined && capture === undefined) {
      text += whole === '$$' ? '$' : whole
      continue
    }
    if (text !== '') parts.push({ kind: 'text', text })
    text = ''
    if (capture !== undefined) parts.push({ kind: 'capture', number: Number(capture) })
    else {
      const name = VARIABLES.find((one) => one === variable)
      if (!name) return `has the variable \${${variable}}, which is not known: there are \${node.id} and \${cluster}`
      parts.push({ kind: 'variable', name })
    }
  }
  if (text !== '') parts.push({ kind: 'text', text })
  return parts
}

export type TemplateUse = {
  /** The route's filter, `$share/<group>/` included. */
  readonly match: string
  /** Messages go back by it, too, so that the topic has to be found again. */
  readonly isTwoWay: boolean
}

/** @returns what is wrong with a template for this filter, with the remedy; undefined when it is right */
export function findTemplateProblem(template: string, { match, isTwoWay }: TemplateUse): string | undefined {
  const parts = parseTemplate(template)
  if (typeof parts === 'string') return parts
  if (parts.some((part) => part.kind === 'text' && /[+#\0]/.test(part.text)))
    return 'holds `+`, `#` or U+0000, which no topic name may: what a wildcard of `match` stood for is $1 to $9'
  if (parts.length === 0) return 'is empty: leave it out to keep the topic as it is'
  const wildcards = match.split('/').filter((level) => level === '+' || level === '#')
  const used = parts.flatMap((part) => (part.kind === 'capture' ? [part.number] : []))
  const unknown = used.find((number) => number > wildcards.length)
  if (unknown !== undefined)
    return `uses $${unknown}, but \`match\` has ${wildcards.length === 0 ? 'no wildcard' : `${wildcards.length} only`}`
  return isTwoWay ? twoWayProblem(parts, wildcards) : undefined
}

/** The way back is a filter, made of the template; a level of it is a wildcard or it is not. */
function twoWayProblem(parts: readonly TemplatePart[], wildcards: readonly string[]): string | undefined {
  const used = parts.flatMap((part) => (part.kind === 'capture' ? [part.number] : []))
  const missing = wildcards.findIndex((_, i) => used.filter((number) => number === i + 1).length !== 1)
  if (missing >= 0)
    return `must have $${missing + 1} exactly once with direction \`both\`, or nobody knows the way back: write two routes, one \`up\` and one \`down\``
  for (const [i, part] of parts.entries()) {
    if (part.kind !== 'capture') continue
    const [before, after] = [parts[i - 1], parts[i + 1]]
    const isWhole =
      (before === undefined || (before.kind === 'text' && before.text.endsWith('/'))) &&
      (after === undefined || (after.kind === 'text' && after.text.startsWith('/')))
    if (!isWhole) return `must have $${part.number} alone between slashes with direction \`both\``
    if (wildcards[part.number - 1] === '#' && after !== undefined)
      return `must end with $${part.number}, which stands for \`#\`, with direction \`both\``
  }
  return undefined
}
