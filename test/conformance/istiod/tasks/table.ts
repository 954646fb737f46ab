/** The section of docs/istio.md that says which tasks work. */
import fs from 'node:fs'
import path from 'node:path'
import { decideVerdict, type Task } from './task.ts'

const PAGE = path.resolve(import.meta.dirname, '../../../../docs/istio.md')
const BEGIN = '<!-- npm run test:tasks -- --write -->'
const END = '<!-- end -->'
const DOCS = 'https://istio.io/latest/docs/'

export function table(tasks: readonly Task[]): string {
  const rows = tasks.map((task) => {
    const differs = [...new Set([...task.checks.map((c) => c.differs), task.differs, task.reason])].filter(
      (d) => d !== undefined,
    )
    return `| [${task.name}](${DOCS}${task.page}) | ${decideVerdict(task)} | ${differs.join('; ').replaceAll('|', '\\|')} |`
  })
  return ['| task | | differs |', '|---|---|---|', ...rows].join('\n')
}

/** The page with another table. */
export function replaceTable(page: string, tasks: readonly Task[]): string {
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END, begin)
  if (begin < 0 || end < 0) throw new Error(`${PAGE} has no place for the table: ${BEGIN}`)
  return `${page.slice(0, begin + BEGIN.length)}\n${table(tasks)}\n${page.slice(end)}`
}
export const readPage = (): string => fs.readFileSync(PAGE, 'utf8')
export function writeTable(tasks: readonly Task[]): void {
  fs.writeFileSync(PAGE, replaceTable(readPage(), tasks))
}
