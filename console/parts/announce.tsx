/** What a screen reader is told of what happens elsewhere on the page. */
import { useEffect, useState } from 'preact/hooks'

const heard = new Set<(text: string) => void>()
export function announce(text: string): void {
  for (const one of heard) one(text)
}

export function Announcements() {
  const [text, setText] = useState('')
  useEffect(() => {
    heard.add(setText)
    return () => {
      heard.delete(setText)
    }
  }, [])
  return (
    <div class="toast" role="status" aria-live="polite">
      {text !== '' && (
        <p>
          {text}{' '}
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => setText('')}>
            ×
          </button>
        </p>
      )}
    </div>
  )
}
