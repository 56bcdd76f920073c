// A listener that does not speak Weft, for tests: prints its address on 127.0.0.1, and answers whoever connects as a
// web server would (`stranger http`) or never (`stranger silent`). Ends when it is killed.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <iostream>
#include <list>
#include <string_view>

int main(int count, char** arguments) {
  using boost::asio::ip::tcp;
  const bool silent = count > 1 && std::string_view{arguments[1]} == "silent";
  boost::asio::io_context context;
  tcp::acceptor acceptor{context, {boost::asio::ip::address_v4::loopback(), 0}};
  std::cout << "ready at " << acceptor.local_endpoint() << ", a stranger" << std::endl;
  constexpr std::string_view answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  std::list<tcp::socket> silent_ones;
  while (true) {
    tcp::socket guest = acceptor.accept();
    if (silent) {
      silent_ones.push_back(std::move(guest));
    } else {
      boost::system::error_code gone;
      boost::asio::write(guest, boost::asio::buffer(answer), gone);
    }
  }
}
