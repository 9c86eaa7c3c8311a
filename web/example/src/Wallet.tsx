import { useBlocks, useHead, useStatus } from "opp2p/react";
import type { LieEvent, Provider } from "opp2p/provider";
import { useEffect, useState, type FormEvent } from "react";
import { formatEther, isAddress, parseEther, type Address, type Hash, type PrivateKeyAccount } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { client, send, useProvider } from "./client.js";
import { History } from "./History.js";
import { short, words } from "./text.js";

export function Wallet() {
  const { provider, failure } = useProvider();
  const [account, setAccount] = useState<PrivateKeyAccount | null>(null);
  const [watched, setWatched] = useState(new URLSearchParams(location.search).get("address") ?? "");
  const address = account?.address ?? (isAddress(watched) ? watched : null);
  return (
    <main>
      <Head provider={provider} failure={failure} />
      <section aria-labelledby="account">
        <h2 id="account">Account</h2>
        <div className="row">
          <input
            aria-label="Address to watch"
            placeholder="0x… address to watch"
            spellCheck={false}
            value={account?.address ?? watched}
            readOnly={account !== null}
            onChange={(event) => setWatched(event.target.value.trim())}
          />
          <button type="button" onClick={() => setAccount(privateKeyToAccount(generatePrivateKey()))}>
            New key
          </button>
        </div>
        <KeyForm use={setAccount} />
        {address && <Balance key={address} address={address} provider={provider} />}
      </section>
      {account && <Send key={account.address} account={account} />}
      {address && provider && <History key={`h${address}`} address={address} provider={provider} />}
      <Blocks provider={provider} />
      <Lies provider={provider} />
    </main>
  );
}

function Head({ provider, failure }: { provider: Provider | null; failure: string | null }) {
  const head = useHead(provider);
  const status = useStatus(provider);
  const name = provider?.observer.network.name;
  const now = useClock();
  const age = head && Math.max(0, Math.round(now / 1000 - head.timestamp));
  return (
    <header>
      <h1>A wallet that trusts no RPC</h1>
      <p role="status" className={head ? "live" : undefined}>
        {failure ?? (head ? `${name}: block ${head.number.toLocaleString("en")}, ${age} s ago` : name ? `${name}: waiting for a block` : "starting …")}
      </p>
      {head && <p className="note">Verified in this page. Its hash is {short(head.hash)}</p>}
      {status?.troubles.map(({ kind, text, remedy }) => (
        <p key={kind} className="trouble">
          {text}. To do: {remedy}.
        </p>
      ))}
    </header>
  );
}

/** Returns the current time, updated once a second. */
function useClock() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

function KeyForm({ use }: { use: (account: PrivateKeyAccount) => void }) {
  const [wrong, setWrong] = useState("");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const key = String(new FormData(event.currentTarget).get("key")).trim();
    try {
      use(privateKeyToAccount(key as Hash));
      setWrong("");
      event.currentTarget.reset();
    } catch {
      setWrong("This is not a private key: give 0x and 64 hexadecimal digits.");
    }
  };
  return (
    <details>
      <summary>Use a private key of a development chain</summary>
      <form className="row" onSubmit={submit}>
        <input name="key" type="password" autoComplete="off" aria-label="Private key" placeholder="0x…" />
        <button>Use</button>
      </form>
      <p className="note">It stays in the memory of this tab. Don't give a key with real funds to a sample.</p>
      {wrong && <p className="trouble">{wrong}</p>}
    </details>
  );
}

/** Shows the balance at the newest block that an endpoint can prove. */
function Balance({ address, provider }: { address: Address; provider: Provider | null }) {
  const head = useHead(provider);
  const [shown, setShown] = useState<{ balance: bigint; block: number } | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    const control = new AbortController();
    if (!provider || !head) return;
    provider.read({ method: "eth_getBalance", params: [address, "latest"] }, { signal: control.signal }).then(
      ({ result, block }) => {
        setShown({ balance: BigInt(result), block: block?.number ?? 0 });
        setFailure(null);
      },
      (error) => control.signal.aborted || setFailure(words(error)),
    );
    return () => control.abort();
  }, [address, provider, head?.hash]);
  return (
    <>
      <p className="balance">{shown ? `${formatEther(shown.balance)} ETH` : "…"}</p>
      {shown && <p className="note">Proved by block {shown.block.toLocaleString("en")}</p>}
      {failure && <p className="trouble">{failure}</p>}
    </>
  );
}

type Sending =
  | { state: "idle" }
  | { state: "signing" }
  | { state: "sent"; hash: Hash }
  | { state: "included"; hash: Hash; block: bigint; succeeded: boolean }
  | { state: "failed"; why: string };

function Send({ account }: { account: PrivateKeyAccount }) {
  const [sending, setSending] = useState<Sending>({ state: "idle" });
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const to = String(form.get("to")).trim();
    if (!isAddress(to)) return setSending({ state: "failed", why: "The receiver is not an address." });
    try {
      setSending({ state: "signing" });
      const hash = await send(account, to, parseEther(String(form.get("amount"))));
      setSending({ state: "sent", hash });
      const { blockNumber, status } = await client.waitForTransactionReceipt({ hash });
      setSending({ state: "included", hash, block: blockNumber, succeeded: status === "success" });
    } catch (error) {
      setSending({ state: "failed", why: words(error) });
    }
  };
  const isBusy = sending.state === "signing" || sending.state === "sent";
  return (
    <section aria-labelledby="send">
      <h2 id="send">Send</h2>
      <form onSubmit={submit}>
        <input name="to" aria-label="Receiver" placeholder="0x… receiver" spellCheck={false} required />
        <div className="row">
          <input name="amount" aria-label="Amount in ETH" placeholder="0.01 ETH" inputMode="decimal" required />
          <button disabled={isBusy}>Send</button>
        </div>
      </form>
      <p aria-live="polite" className={sending.state === "failed" ? "trouble" : "note"}>
        {told(sending)}
      </p>
    </section>
  );
}

function told(sending: Sending) {
  switch (sending.state) {
    case "idle":
      return "The nonce and the fee come from proofs and from the head.";
    case "signing":
      return "Signing …";
    case "sent":
      return `${short(sending.hash)} is sent. Waiting for its block …`;
    case "included":
      return `${short(sending.hash)} is in block ${sending.block.toLocaleString("en")}${sending.succeeded ? "" : ", where it failed"}. Its receipt is proved.`;
    case "failed":
      return sending.why;
  }
}

function Blocks({ provider }: { provider: Provider | null }) {
  const blocks = useBlocks(provider, 5);
  if (blocks.length === 0) return null;
  return (
    <section aria-labelledby="blocks">
      <h2 id="blocks">Newest blocks</h2>
      <ol className="list">
        {blocks.map(({ number, hash, transactionCount }) => (
          <li key={hash}>
            <span>{number.toLocaleString("en")}</span>
            <code>{short(hash)}</code>
            <span>{transactionCount} transactions</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

/** Shows the false answers of endpoints. */
function Lies({ provider }: { provider: Provider | null }) {
  const [lies, setLies] = useState<readonly LieEvent[]>([]);
  useEffect(() => {
    const note = (lie: LieEvent) => setLies((lies) => [...lies, lie].slice(-8));
    provider?.on("lie", note);
    return () => void provider?.off("lie", note);
  }, [provider]);
  if (lies.length === 0) return null;
  return (
    <section aria-labelledby="lies">
      <h2 id="lies">Lies</h2>
      {lies.map(({ endpoint, method, part }, index) => (
        <p key={index} className="trouble">
          {endpoint} lied to {method}: {part}. It is not asked again.
        </p>
      ))}
    </section>
  );
}
