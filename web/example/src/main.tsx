// A sample wallet that verifies its RPC's answers. Open it with a gateway and an endpoint:
// `?network=op-mainnet&peers=/dns4/…/tcp/443/wss/p2p/16Uiu2…&rpc=https://…`.

import { createRoot } from "react-dom/client";
import { Wallet } from "./Wallet.js";
import "./style.css";

createRoot(document.getElementById("wallet")!).render(<Wallet />);
