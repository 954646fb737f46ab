/** Values of headers with what is put in for `%NAME%`, `%NAME(argument)%`, `%NAME(["a", "b"])%`; `%%` is a percent sign. */

const CONTROL = /[\p{Cc}--[\t]--[\u0080-\u009f]]/v
/** What may stand next, as in validateHeaderValue of an istiod; a backslash takes the next character with it. */
type Part = 'text' | 'name' | 'arguments' | 'string' | 'beforeString' | 'afterString' | 'afterList' | 'end'

/** Undefined: none. */
export function findHeaderValueProblem(value: string): string | undefined {
  if (CONTROL.test(value)) return 'holds a control character'
  let part: Part | undefined = 'text'
  for (let i = 0; i < value.length && part !== undefined; i++) {
    const char = value[i]!
    const isPair: boolean =
      (part === 'text' && char === '%' && value[i + 1] === '%') || (part === 'string' && char === '\\')
    if (isPair) i++
    else part = step(part, char)
  }
  return part === 'text' ? undefined : 'holds a "%" that begins no variable; write %% for the sign'
}

/** Undefined: that cannot stand there. */
function step(part: Part, char: string): Part | undefined {
  const isSpace = char === ' '
  switch (part) {
    case 'text':
      return char === '%' ? 'name' : 'text'
    case 'name':
      return char === '%' ? 'text' : char === '(' ? 'arguments' : 'name'
    case 'arguments':
      return char === '[' ? 'beforeString' : isSpace ? part : 'string'
    case 'beforeString':
      return char === '"' ? 'string' : isSpace ? part : undefined
    case 'string':
      return char === ')' ? 'end' : char === '"' ? 'afterString' : part
    case 'afterString':
      return char === ',' ? 'beforeString' : char === ']' ? 'afterList' : isSpace ? part : undefined
    case 'afterList':
      return char === ')' ? 'end' : isSpace ? part : undefined
    case 'end':
      return char === '%' ? 'text' : isSpace ? part : undefined
    default:
      return part satisfies never
  }
}
