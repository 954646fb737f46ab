/**
 * Evaluates expressions. An error, which a missing attribute is, logs nothing in a filter and makes a label `unknown`, as
 * in Envoy. Pure.
 */
import type { LogFacts } from '../facts.ts'
import { findAttribute, hasField, isAttributeGroup, type CelMap, type CelValue } from './attributes.ts'
import { parseCel, type Cel, type Conversion, type Operator } from './parse.ts'

export type CelExpression = { readonly source: string; readonly tree: Cel }

/** @returns the expression, or why it cannot be evaluated */
export function compileCel(source: string): CelExpression | { readonly problem: string } {
  const tree = parseCel(source)
  if ('problem' in tree) return tree
  const unknown = findUnknown(tree)
  return unknown === undefined ? { source, tree } : { problem: `${unknown} is no attribute that is known here` }
}

/**
 * For a label: a name that is no attribute is an error where the evaluation comes to it, as in Envoy.
 * @returns the expression with the first such name, or why it is none
 */
export function compileLabel(
  source: string,
): { readonly expression: CelExpression; readonly unknown: string | undefined } | { readonly problem: string } {
  const tree = parseCel(source)
  return 'problem' in tree ? tree : { expression: { source, tree }, unknown: findUnknown(tree) }
}

/** Names that are no attribute. */
function findUnknown(tree: Cel): string | undefined {
  switch (tree.kind) {
    case 'value':
      return undefined
    case 'name':
      return tree.name
    case 'field': {
      if (tree.of.kind !== 'name') return findUnknown(tree.of) ?? findUnknownField(tree.of, tree.name)
      const name = `${tree.of.name}.${tree.name}`
      return findAttribute(name) ? undefined : name
    }
    case 'index': {
      const { of, key } = tree
      if (of.kind === 'name' && isAttributeGroup(of.name) && key.kind === 'value') {
        const name = `${of.name}.${String(key.value)}`
        return findAttribute(name) ? undefined : name
      }
      return (
        findUnknown(of) ??
        findUnknown(key) ??
        (key.kind === 'value' ? findUnknownField(of, String(key.value)) : undefined)
      )
    }
    case 'list':
      return firstUnknown(tree.items)
    case 'has':
    case 'not':
    case 'negate':
    case 'size':
    case 'string':
    case 'int':
    case 'double':
    case 'matches':
      return findUnknown(tree.of)
    case 'operation':
      return firstUnknown([tree.left, tree.right])
    case 'choice':
      return firstUnknown([tree.if, tree.yes, tree.no])
    case 'text':
      return firstUnknown([tree.of, tree.with])
    default:
      return tree satisfies never
  }
}

/** What an attribute with a closed set of fields does not have. */
function findUnknownField(of: Cel, field: string): string | undefined {
  const name = nameAttribute(of)
  return name !== undefined && hasField(name, field) === false ? `${name}.${field}` : undefined
}
function nameAttribute(of: Cel): string | undefined {
  if (of.kind === 'field' && of.of.kind === 'name') return `${of.of.name}.${of.name}`
  return of.kind === 'index' && of.of.kind === 'name' && of.key.kind === 'value'
    ? `${of.of.name}.${String(of.key.value)}`
    : undefined
}

function firstUnknown(trees: readonly Cel[]): string | undefined {
  for (const tree of trees) {
    const found = findUnknown(tree)
    if (found !== undefined) return found
  }
  return undefined
}

export function matchesCel({ tree }: CelExpression, facts: LogFacts): boolean {
  return evaluate(tree, facts) === true
}

/** @returns undefined for an error, and for what is no text, number or truth value */
export function printCel({ tree }: CelExpression, facts: LogFacts): string | undefined {
  const value = evaluate(tree, facts)
  return typeof value === 'string'
    ? value
    : typeof value === 'number' || typeof value === 'boolean'
      ? `${value}`
      : undefined
}

/** @returns undefined for an error */
function evaluate(tree: Cel, facts: LogFacts): CelValue | undefined {
  switch (tree.kind) {
    case 'value':
      return tree.value
    case 'list': {
      const items = tree.items.map((item) => evaluate(item, facts))
      return items.every((item) => item !== undefined) ? items : undefined
    }
    case 'name':
      return undefined
    case 'field':
      return tree.of.kind === 'name'
        ? findAttribute(`${tree.of.name}.${tree.name}`)?.(facts)
        : lookUp(evaluate(tree.of, facts), tree.name)
    case 'index':
      return tree.of.kind === 'name' && tree.key.kind === 'value'
        ? findAttribute(`${tree.of.name}.${String(tree.key.value)}`)?.(facts)
        : lookUp(evaluate(tree.of, facts), evaluate(tree.key, facts))
    case 'has':
      return evaluate(tree.of, facts) !== undefined
    case 'not': {
      const value = evaluate(tree.of, facts)
      return typeof value === 'boolean' ? !value : undefined
    }
    case 'negate': {
      const value = evaluate(tree.of, facts)
      return typeof value === 'number' ? -value : undefined
    }
    case 'size': {
      const value = evaluate(tree.of, facts)
      return typeof value === 'string' ? Array.from(value).length : isList(value) ? value.length : undefined
    }
    case 'string':
    case 'int':
    case 'double':
      return convert(tree.kind, evaluate(tree.of, facts))
    case 'operation':
      return operate(tree.operator, tree.left, tree.right, facts)
    case 'choice': {
      const value = evaluate(tree.if, facts)
      return typeof value === 'boolean' ? evaluate(value ? tree.yes : tree.no, facts) : undefined
    }
    case 'text':
      return testText(tree.test, evaluate(tree.of, facts), evaluate(tree.with, facts))
    case 'matches': {
      const value = evaluate(tree.of, facts)
      return typeof value === 'string' ? tree.regex.matchesAll(value) : undefined
    }
    default:
      return tree satisfies never
  }
}

function operate(operator: Operator, leftTree: Cel, rightTree: Cel, facts: LogFacts): CelValue | undefined {
  const left = evaluate(leftTree, facts)
  // What decides by itself does so whatever the other side is, an error too.
  if (operator === '&&' || operator === '||') {
    const decides = operator === '||'
    if (left === decides) return decides
    const right = evaluate(rightTree, facts)
    if (right === decides) return decides
    return typeof left === 'boolean' && typeof right === 'boolean' ? !decides : undefined
  }
  const right = evaluate(rightTree, facts)
  if (left === undefined || right === undefined) return undefined
  if (operator === '==') return left === right
  if (operator === '!=') return left !== right
  if (operator === 'in') return isWithin(left, right)
  if (typeof left === 'string' && typeof right === 'string')
    return operator === '+' ? left + right : compare(operator, left < right ? -1 : left > right ? 1 : 0)
  return typeof left === 'number' && typeof right === 'number' ? calculate(operator, left, right) : undefined
}

/** https://github.com/google/cel-spec/blob/master/doc/langdef.md, "Type Conversions" */
function convert(to: Conversion, value: CelValue | undefined): CelValue | undefined {
  if (to === 'string')
    return typeof value === 'number' || typeof value === 'boolean'
      ? String(value)
      : typeof value === 'string'
        ? value
        : undefined
  if (
    typeof value === 'string' &&
    !(to === 'int' ? /^-?\d{1,19}$/ : /^-?\d{1,19}(\.\d+)?([eE][+-]?\d{1,3})?$/).test(value)
  )
    return undefined
  const number = typeof value === 'string' || typeof value === 'number' ? Number(value) : undefined
  return number === undefined || to === 'double' ? number : Math.trunc(number)
}

function isWithin(value: CelValue, of: CelValue): boolean | undefined {
  if (isList(of)) return of.includes(value)
  return isMap(of) && typeof value === 'string' ? of.find(value) !== undefined : undefined
}

/** Of whole numbers the quotient is one, too. */
function calculate(operator: Operator, left: number, right: number): number | boolean | undefined {
  if (operator === '+') return left + right
  if (operator === '-') return left - right
  if (operator === '*') return left * right
  if (operator === '%') return right === 0 ? undefined : left % right
  if (operator !== '/') return compare(operator, left - right)
  if (right === 0) return undefined
  return Number.isInteger(left) && Number.isInteger(right) ? Math.trunc(left / right) : left / right
}

function compare(operator: string, difference: number): boolean | undefined {
  switch (operator) {
    case '<':
      return difference < 0
    case '<=':
      return difference <= 0
    case '>':
      return difference > 0
    case '>=':
      return difference >= 0
    default:
      return undefined
  }
}

function testText(
  test: 'contains' | 'startsWith' | 'endsWith',
  of: CelValue | undefined,
  text: CelValue | undefined,
): boolean | undefined {
  if (typeof of !== 'string' || typeof text !== 'string') return undefined
  switch (test) {
    case 'contains':
      return of.includes(text)
    case 'startsWith':
      return of.startsWith(text)
    case 'endsWith':
      return of.endsWith(text)
    default:
      return test satisfies never
  }
}

function lookUp(of: CelValue | undefined, key: CelValue | undefined): CelValue | undefined {
  if (isMap(of)) return typeof key === 'string' ? of.find(key) : undefined
  return isList(of) && typeof key === 'number' ? of[key] : undefined
}

function isList(value: CelValue | undefined): value is readonly CelValue[] {
  return Array.isArray(value)
}
function isMap(value: CelValue | undefined): value is CelMap {
  return typeof value === 'object' && value !== null && 'find' in value && !Array.isArray(value)
}
