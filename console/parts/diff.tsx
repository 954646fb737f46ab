/** What differs between two revisions of the configuration, asked for when it is wanted. */
import { useState } from 'preact/hooks'
import type { RevisionDiff } from '../../hub/console/rollout-schemas.ts'
import { useData } from '../data.ts'
import { plural } from '../format.ts'
import { Loading, ProblemNote } from './basics.tsx'

export function Differences({ from, to }: { readonly from: string; readonly to: string }) {
  const [isOpen, setOpen] = useState(false)
  return (
    <>
      <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {isOpen ? 'Hide what differs' : 'Show what differs'}
      </button>
      {isOpen && <Files from={from} to={to} />}
    </>
  )
}

function Files({ from, to }: { readonly from: string; readonly to: string }) {
  const { value, problem, reload } = useData<RevisionDiff>(`/revisions/${from}/diff/${to}`)
  if (!value) return problem ? <ProblemNote problem={problem} retry={reload} /> : <Loading />
  return (
    <div class="diff">
      <p>
        {value.filesTotal === 0 ? 'No file differs' : `${plural(value.filesTotal, 'file')} differ`} between{' '}
        <code>{from}</code> and <code>{to}</code>.
      </p>
      {value.files.map(({ path, what, lines }) => (
        <figure key={path}>
          <figcaption>
            <code>{path}</code> {what}
          </figcaption>
          <DiffLines label={`What differs in ${path}`} lines={lines} />
        </figure>
      ))}
      {value.isCut && (
        <p class="muted">
          There is more than is shown: `meshlet-hub revision diff {from} {to}` prints all of it.
        </p>
      )}
    </div>
  )
}
const LINE_KINDS: Readonly<Record<string, string>> = { '-': 'out', '+': 'in', '@': 'place' }

export const DiffLines = ({ label, lines }: { readonly label: string; readonly lines: readonly string[] }) => (
  <pre tabIndex={0} aria-label={label} role="group">
    {lines.map((line) => (
      <span class={LINE_KINDS[line[0]!] ?? ''}>{`${line}\n`}</span>
    ))}
  </pre>
)
